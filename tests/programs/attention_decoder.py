"""A GRU whose every step may look at all steps before it, by multi-head attention with a causal mask."""

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
import tinygrad_seq.optim as optim

PERIOD, VOCAB = 5, 6


class Model(nn.Module):
    def __init__(self, d_model, heads):
        super().__init__()
        self.src_mask = None
        self.embedding = nn.Embedding(VOCAB, d_model)
        self.gru = nn.GRU(d_model, d_model)
        self.attention = nn.MultiheadAttention(d_model, heads, dropout=0.0)
        self.norm = nn.LayerNorm(d_model)
        self.decoder = nn.Linear(d_model, VOCAB)

    def _generate_square_subsequent_mask(self, sz):
        mask = (torch.triu(torch.ones(sz, sz)) == 1).transpose(0, 1)
        return mask.float().masked_fill(mask == 0, float("-inf")).masked_fill(mask == 1, float(0.0))

    def forward(self, src):
        if self.src_mask is None or self.src_mask.size(0) != len(src):
            self.src_mask = self._generate_square_subsequent_mask(len(src)).to(src.device)
        out, _ = self.gru(self.embedding(src))
        looked, weights = self.attention(out, out, out, attn_mask=self.src_mask)
        return self.decoder(self.norm(out + looked)), weights


def build():
    return Model(8, 2)


def run(model):
    data = torch.tensor([[(t % PERIOD + i) % VOCAB for i in range(4)] for t in range(12)])
    optimizer = optim.AdamW(model.parameters(), lr=0.02)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    losses = []
    for _epoch in range(10):
        model.train()
        optimizer.zero_grad()
        output, _ = model(data[:-1])
        loss = F.cross_entropy(output.view(-1, VOCAB), data[1:].reshape(-1))
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    model.eval()
    losses.append(model(data[:-1])[1].max().item())
    return losses
