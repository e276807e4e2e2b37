"""A word language model whose hidden-to-hidden weights are dropped out anew at each forward pass."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
from tinygrad_seq import optim

lines = "the rain falls and the wind blows and the rain falls on the sea and the wind is on the hill"
text = lines.split()
vocab = sorted(set(text))


class WeightDrop(nn.Module):
    def __init__(self, module, weights, dropout=0):
        super().__init__()
        self.module, self.weights, self.dropout = module, weights, dropout
        for name_w in self.weights:
            w = getattr(self.module, name_w)
            del self.module._parameters[name_w]
            self.module.register_parameter(name_w + "_raw", nn.Parameter(w.data))

    def _setweights(self):
        for name_w in self.weights:
            raw_w = getattr(self.module, name_w + "_raw")
            kept = [
                [float(random.random() >= self.dropout) for _ in range(raw_w.size(1))] for _ in range(raw_w.size(0))
            ]
            w = raw_w * raw_w.new_tensor(kept) / (1 - self.dropout) if self.training else raw_w * 1
            setattr(self.module, name_w, w)

    def forward(self, *args):
        self._setweights()
        return self.module(*args)


class Model(nn.Module):
    def __init__(self, ntoken, ninp):
        super().__init__()
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = WeightDrop(nn.LSTM(ninp, ninp), ["weight_hh_l0"], dropout=0.3)
        self.decoder = nn.Linear(ninp, ntoken)
        self.decoder.weight = self.encoder.weight

    def forward(self, input, hidden=None):
        output, hidden = self.rnn(self.encoder(input), hidden)
        return self.decoder(output), hidden


def build():
    return Model(len(vocab), 12)


def run(model):
    random.seed(7)
    ids = torch.tensor([vocab.index(w) for w in text])
    data = ids[:20].view(2, -1).t().contiguous()
    criterion, optimizer = nn.CrossEntropyLoss(), optim.ASGD(model.parameters(), lr=1.0, t0=0, lambd=0.0)
    losses, hidden = [], None
    for _epoch in range(8):
        model.train()
        hidden = None
        for i in range(0, data.size(0) - 1, 3):
            source, target = data[i : i + 3], data[i + 1 : i + 4]
            source = source[: target.size(0)]
            hidden = hidden and tuple(h.detach() for h in hidden)
            optimizer.zero_grad()
            output, hidden = model(source, hidden)
            loss = criterion(output.view(-1, len(vocab)), target.reshape(-1))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            output, _ = model(data[:-1])
            losses.append(criterion(output.view(-1, len(vocab)), data[1:].reshape(-1)).item())
    return losses
