"""The adding problem for a plain RNN, a GRU and an LSTM: add the two marked numbers."""

import nn
import nn.functional as F
import tinygrad_seq as torch
from nn import optim

T, B = 12, 16


class Adder(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.rnn = cell(input_size=2, hidden_size=16, num_layers=1)
        self.out = nn.Linear(16, 1)
        for name, p in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(p)
            elif "bias" in name:
                p.data.fill_(0)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.out(out[-1])


def build():
    return nn.ModuleList([Adder(nn.RNN), Adder(nn.GRU), Adder(nn.LSTM)])


def batch(k):
    numbers = ((torch.arange(T * B).float() * 37 + k * 11) % 101 / 101).view(T, B)
    marks = torch.zeros(T, B)
    columns = torch.arange(B)
    first, second = (columns * 3 + k) % (T // 2), T // 2 + (columns * 5 + k) % (T // 2)
    marks[first, columns] = 1.0
    marks[second, columns] = 1.0
    return torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=0).unsqueeze(1)


def run(models):
    record = []
    for model in models:
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
        for k in range(15):
            x, y = batch(k)
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            record.append(loss.item())
    return record
