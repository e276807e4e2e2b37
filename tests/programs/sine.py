"""A time-series predictor of LSTMCells in float64, trained with LBFGS and a closure."""

import nn
import tinygrad_seq as torch
from nn import optim

steps = torch.arange(60, dtype=torch.float64)
phases = torch.linspace(0, 3, 5, dtype=torch.float64)
series = torch.sin(steps.unsqueeze(0) / 4.0 + phases.unsqueeze(1))


class Sequence(nn.Module):
    def __init__(self):
        super(Sequence, self).__init__()
        self.lstm1 = nn.LSTMCell(1, 12)
        self.lstm2 = nn.LSTMCell(12, 12)
        self.linear = nn.Linear(12, 1)

    def forward(self, input, future=0):
        outputs = []
        h_t = torch.zeros(input.size(0), 12, dtype=torch.double)
        c_t = torch.zeros(input.size(0), 12, dtype=torch.double)
        h_t2 = torch.zeros(input.size(0), 12, dtype=torch.double)
        c_t2 = torch.zeros(input.size(0), 12, dtype=torch.double)
        for input_t in input.split(1, dim=1):
            h_t, c_t = self.lstm1(input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        for _ in range(future):
            h_t, c_t = self.lstm1(output, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


def build():
    seq = Sequence()
    seq.double()
    return seq


def run(seq):
    criterion = nn.MSELoss()
    optimizer = optim.LBFGS(seq.parameters(), lr=0.8, max_iter=5)
    losses = []
    for _ in range(4):

        def closure():
            optimizer.zero_grad()
            out = seq(series[:, :-1])
            loss = criterion(out, series[:, 1:])
            losses.append(loss.item())
            loss.backward()
            return loss

        optimizer.step(closure)
    with torch.no_grad():
        pred = seq(series[:, :20], future=10)
        losses.extend(pred[0].detach().numpy()[-10:].tolist())
    return losses
