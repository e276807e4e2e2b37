"""An LSTM cell with layer normalization, written by hand; its outputs go into a tensor made by x.new."""

import math

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
from tinygrad_seq.utils.data import DataLoader, TensorDataset


class LayerNormLSTMCell(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.Tensor(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.Tensor(4 * hidden_size, hidden_size))
        self.layernorm_i = nn.LayerNorm(4 * hidden_size)
        self.layernorm_h = nn.LayerNorm(4 * hidden_size)
        self.layernorm_c = nn.LayerNorm(hidden_size)
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1.0 / math.sqrt(self.hidden_size)
        for weight in (self.weight_ih, self.weight_hh):
            weight.data.uniform_(-stdv, stdv)

    def forward(self, input, state):
        hx, cx = state
        igates = self.layernorm_i(torch.mm(input, self.weight_ih.t()))
        hgates = self.layernorm_h(torch.mm(hx, self.weight_hh.t()))
        ingate, forgetgate, cellgate, outgate = (igates + hgates).chunk(4, 1)
        cy = forgetgate.sigmoid() * cx + ingate.sigmoid() * cellgate.tanh()
        cy = self.layernorm_c(cy)
        return outgate.sigmoid() * torch.tanh(cy), cy


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = LayerNormLSTMCell(1, 8)
        self.linear = nn.Linear(8, 1)

    def forward(self, x):
        n, steps, _ = x.size()
        h = c = x.new_zeros(n, 8)
        outputs = x.new(n, steps, 8).zero_()
        for t in range(steps):
            h, c = self.cell(x[:, t, :], (h, c))
            outputs[:, t, :] = h
        return self.linear(outputs)


def build():
    return Forecaster()


def run(model):
    waves = torch.tensor([[[math.sin(0.4 * t + i)] for t in range(13)] for i in range(8)])
    loader = DataLoader(TensorDataset(waves[:, :-1], waves[:, 1:]), batch_size=4, num_workers=0)
    criterion, optimizer = nn.MSELoss(size_average=True), torch.optim.Adamax(model.parameters(), lr=0.02)
    losses = []
    for _epoch in range(6):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
