"""A time-delay network with batch normalization, trained by CTC to spell what it hears."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
import tinygrad_seq.optim as optim

LABELS, BLANK = 4, 0


class TDNN(nn.Module):
    def __init__(self, n_mels, hidden):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv1d(n_mels, hidden, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv1d(hidden, hidden, kernel_size=3, padding=2, dilation=2, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(hidden, LABELS + 1)

    def forward(self, x):
        x = self.convs(x.transpose(1, 2)).permute(2, 0, 1)
        return F.log_softmax(self.fc(x), dim=2)


def utterance(n):
    labels = [random.randint(1, LABELS) for _ in range(n)]
    frames = []
    for label in labels:
        frames += [[float(k == label) + random.gauss(0, 0.1) for k in range(LABELS + 1)]] * 3
        frames += [[random.gauss(0, 0.1) for _ in range(LABELS + 1)]]
    return torch.tensor(frames), torch.tensor(labels)


def build():
    return TDNN(LABELS + 1, 8)


def run(model):
    random.seed(2)
    batch = [utterance(n) for n in (3, 2, 3, 1)]
    x = nn.utils.rnn.pad_sequence([frames for frames, _ in batch], batch_first=True)
    input_lengths = torch.IntTensor([len(frames) for frames, _ in batch])
    targets = torch.cat([labels for _, labels in batch])
    target_lengths = torch.IntTensor([len(labels) for _, labels in batch])
    criterion = nn.CTCLoss(blank=BLANK, zero_infinity=True)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _epoch in range(12):
        model.train()
        optimizer.zero_grad()
        loss = criterion(model(x), targets, input_lengths, target_lengths)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    losses.append(criterion(model(x), targets, input_lengths, target_lengths).item())
    return losses
