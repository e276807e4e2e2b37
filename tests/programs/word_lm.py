"""A word-level language model with tied weights, whose hidden state is carried along and repackaged."""

import math

import nn
import tinygrad_seq as torch
from nn import optim

text = "the cat sat on the mat and the dog sat on the log while the bird sang to the cat and the dog " * 12
words = sorted(set(text.split()))
word2idx = {w: i for i, w in enumerate(words)}
ids = torch.tensor([word2idx[w] for w in text.split()], dtype=torch.long)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    return data[: nbatch * bsz].view(bsz, -1).t().contiguous()


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers, dropout=0.0, tie_weights=True):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        self.init_weights()
        self.nhid, self.nlayers, self.ntoken = nhid, nlayers, ntoken

    def init_weights(self):
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        self.decoder.bias.data.zero_()
        self.decoder.weight.data.uniform_(-0.1, 0.1)

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output))
        return decoded.view(-1, self.ntoken), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(self.nlayers, bsz, self.nhid))


def repackage_hidden(h):
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def build():
    return RNNModel(len(words), 16, 16, 2)


def run(model):
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    data = batchify(ids, 4)
    losses = []
    model.train()
    for _epoch in range(3):
        hidden = model.init_hidden(4)
        for i in range(0, data.size(0) - 1, 10):
            seq_len = min(10, len(data) - 1 - i)
            source, target = data[i : i + seq_len], data[i + 1 : i + 1 + seq_len].view(-1)
            hidden = repackage_hidden(hidden)
            optimizer.zero_grad()
            output, hidden = model(source, hidden)
            loss = criterion(output, target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
            losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        output, _ = model(data[:-1], model.init_hidden(4))
        losses.append(math.exp(criterion(output, data[1:].reshape(-1)).item()))
    return losses
