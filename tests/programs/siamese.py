"""A siamese LSTM that tells whether two sequences have the same motif, by packed sequences and a contrastive loss."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
from tinygrad_seq.nn.utils.rnn import pack_padded_sequence, pad_sequence


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 6, padding_idx=0)
        self.lstm = nn.LSTM(6, 8, batch_first=True, bidirectional=True)

    def encode(self, batch, lengths):
        packed = pack_padded_sequence(self.embedding(batch), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return torch.cat([h[0], h[1]], dim=1)

    def forward(self, a, b):
        return self.encode(*a), self.encode(*b)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        distance = F.pairwise_distance(output1, output2)
        same = (1 - label) * torch.pow(distance, 2)
        other = label * torch.pow(torch.clamp(self.margin - distance, min=0.0), 2)
        return torch.mean(same + other)


def sequence(motif):
    length = random.randint(3, 6)
    return torch.tensor([motif] * length + [random.randint(4, 6) for _ in range(2)])


def padded(sequences):
    return pad_sequence(sequences, batch_first=True), [len(s) for s in sequences]


def build():
    return Siamese()


def run(model):
    random.seed(5)
    pairs = [(random.randint(1, 3), random.randint(1, 3)) for _ in range(12)]
    a, b = padded([sequence(m) for m, _ in pairs]), padded([sequence(m) for _, m in pairs])
    label = torch.tensor([float(m != n) for m, n in pairs])
    criterion = ContrastiveLoss()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    losses = []
    for _epoch in range(8):
        optimizer.zero_grad()
        loss = criterion(*model(a, b), label)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses
