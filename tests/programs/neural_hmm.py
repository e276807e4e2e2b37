"""A hidden Markov model with neural emissions, trained by the forward algorithm written into a table."""

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.optim as optim
from tinygrad_seq.autograd import Variable

STATES, VOCAB = 4, 6


class NeuralHMM(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(STATES))
        self.transition = nn.Parameter(torch.randn(STATES, STATES))
        self.emission = nn.Sequential(nn.Linear(STATES, 8), nn.ReLU(inplace=True), nn.Linear(8, VOCAB))

    def forward(self, x):
        n, T = x.size()
        log_start = torch.log_softmax(self.start, 0)
        log_trans = torch.log_softmax(self.transition, 1)
        log_emit = torch.log_softmax(self.emission(torch.eye(STATES)), 1)
        alpha = Variable(torch.zeros(T, n, STATES))
        alpha[0] = log_start + log_emit[:, x[:, 0]].t()
        for t in range(1, T):
            scores = alpha[t - 1].unsqueeze(2) + log_trans.unsqueeze(0)
            alpha[t] = torch.logsumexp(scores, 1) + log_emit[:, x[:, t]].t()
        return torch.logsumexp(alpha[-1], 1)


def build():
    return NeuralHMM()


def run(model):
    data = torch.LongTensor([[(i + t) % 3 + 3 * (t % 2) for t in range(8)] for i in range(10)])
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _epoch in range(12):
        optimizer.zero_grad()
        loss = -model(data).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
