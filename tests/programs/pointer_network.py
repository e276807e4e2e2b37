"""A pointer network that learns to point at the numbers in rising order."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
from tinygrad_seq import optim


class Attention(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.W1 = nn.Linear(hidden_size, hidden_size, bias=False)
        self.W2 = nn.Linear(hidden_size, hidden_size, bias=False)
        self.V = nn.Parameter(torch.FloatTensor(hidden_size))
        self.V.data.uniform_(-0.3, 0.3)

    def forward(self, query, ref, mask):
        scores = torch.matmul(torch.tanh(self.W1(ref) + self.W2(query).unsqueeze(1)), self.V)
        scores[mask] = -float("inf")
        return scores


class PointerNet(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.embedding = nn.Linear(1, hidden_size)
        self.encoder = nn.LSTM(hidden_size, hidden_size, batch_first=True)
        self.decoder = nn.LSTMCell(hidden_size, hidden_size)
        self.pointer = Attention(hidden_size)
        self.start = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, inputs, target):
        batch_size, seq_len = inputs.size(0), inputs.size(1)
        embedded = self.embedding(inputs.unsqueeze(2))
        ref, (h, c) = self.encoder(embedded)
        h, c = h[0], c[0]
        x = self.start.unsqueeze(0).repeat(batch_size, 1)
        mask = torch.zeros(batch_size, seq_len).byte().bool()
        rows, loss = torch.arange(batch_size), 0
        for i in range(seq_len):
            h, c = self.decoder(x, (h, c))
            logits = self.pointer(h, ref, mask)
            loss += F.cross_entropy(logits, target[:, i])
            mask = mask.clone()
            mask[rows, target[:, i]] = True
            x = embedded[rows, target[:, i], :]
        return loss / seq_len


def build():
    return PointerNet(10)


def run(model):
    random.seed(4)
    numbers = torch.tensor([[random.random() for _ in range(5)] for _ in range(16)])
    target = torch.sort(numbers, 1)[1]
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _step in range(10):
        optimizer.zero_grad()
        loss = model(numbers, target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        losses.append(loss.item())
    return losses
