"""A language model of gated convolutions with weight normalization, causal by padding on the left."""

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
from tinygrad_seq.nn.utils import weight_norm

text = "a gated convolution sees a few steps back, a gated convolution sees no step ahead. "
chars = sorted(set(text))


class GatedBlock(nn.Module):
    def __init__(self, channels, kernel_size):
        super().__init__()
        self.left = kernel_size - 1
        self.conv = weight_norm(nn.Conv1d(channels, 2 * channels, kernel_size))

    def forward(self, x):
        return x + F.glu(self.conv(F.pad(x, (self.left, 0))), dim=1)


class GCNN(nn.Module):
    def __init__(self, vocab, channels, layers):
        super().__init__()
        self.embedding = nn.Embedding(vocab, channels)
        self.blocks = nn.ModuleList([GatedBlock(channels, 3) for _ in range(layers)])
        self.fc = nn.Linear(channels, vocab)

    def forward(self, x):
        x = self.embedding(x).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.fc(x.transpose(1, 2))


def build():
    return GCNN(len(chars), 12, 2)


def run(model):
    ids = torch.tensor([chars.index(c) for c in text])
    x, y = ids[:80].view(4, 20)[:, :-1], ids[:80].view(4, 20)[:, 1:]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, nesterov=True)
    losses = []
    for _epoch in range(10):
        optimizer.zero_grad()
        output = model(x)
        loss = F.cross_entropy(output.transpose(1, 2), y)
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        optimizer.step()
        losses.append(loss.item())
    return losses
