"""The copy task with a hand-written GRU and a stack of its states, of which masks choose some."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
from tinygrad_seq.autograd import Variable

SYMBOLS = 5


class Copier(nn.Module):
    def __init__(self, hidden):
        super(Copier, self).__init__()
        self.hidden = hidden
        self.x2h = nn.Linear(SYMBOLS, 3 * hidden)
        self.h2h = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, SYMBOLS)

    def step(self, x, h):
        gate_x, gate_h = self.x2h(x), self.h2h(h)
        i_r, i_i, i_n = gate_x.chunk(3, 1)
        h_r, h_i, h_n = gate_h.chunk(3, 1)
        resetgate, inputgate = torch.sigmoid(i_r + h_r), torch.sigmoid(i_i + h_i)
        newgate = torch.tanh(i_n + resetgate * h_n)
        return newgate + inputgate * (h - newgate)

    def forward(self, x, lengths):
        T, n, _ = x.size()
        h = Variable(torch.zeros(n, self.hidden), requires_grad=False)
        states = torch.zeros(T, n, self.hidden)
        for t in range(T):
            going = lengths > t
            new = self.step(x[t], h)
            h = torch.where(going.unsqueeze(1), new, h)
            states[t][going] = new[going]
        return self.out(states), h


def build():
    return Copier(10)


def run(model):
    random.seed(9)
    rows = [[random.randrange(SYMBOLS) for _ in range(n)] for n in (6, 4, 6, 3, 5)]
    lengths = torch.tensor([len(r) for r in rows])
    x, y = torch.zeros(6, 5, SYMBOLS), torch.full((6, 5), -100, dtype=torch.int64)
    for b, row in enumerate(rows):
        for t, symbol in enumerate(row):
            x[t, b, symbol] = 1
            y[t, b] = row[max(t - 1, 0)]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _epoch in range(10):
        optimizer.zero_grad()
        output, _ = model(x, lengths)
        loss = F.cross_entropy(output.view(-1, SYMBOLS), y.view(-1), ignore_index=-100)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
