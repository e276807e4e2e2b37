"""Documents of sentences of words: attention over words, then over sentences."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F

VOCAB = 10


class AttentionWithContext(nn.Module):
    def __init__(self, hidden_dim):
        super().__init__()
        self.attn = nn.Linear(hidden_dim, hidden_dim)
        self.contx = nn.Linear(hidden_dim, 1, bias=False)

    def forward(self, inp):
        u = self.attn(inp).tanh_()
        a = F.softmax(self.contx(u), dim=1)
        return (a * inp).sum(1)


class HAN(nn.Module):
    def __init__(self, emb, hid, classes):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, emb)
        self.word_gru = nn.GRU(emb, hid, bidirectional=True, batch_first=True)
        self.word_attn = AttentionWithContext(2 * hid)
        self.sent_gru = nn.GRU(2 * hid, hid, bidirectional=True, batch_first=True)
        self.sent_attn = AttentionWithContext(2 * hid)
        self.fc = nn.Linear(2 * hid, classes)
        self.init_weights()

    def init_weights(self):
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.xavier_normal_(m.weight)

    def forward(self, docs):
        n_docs, n_sents, _ = docs.shape
        sentences = torch.empty(n_docs, n_sents, 2 * self.word_gru.hidden_size)
        for i in range(n_sents):
            out, _ = self.word_gru(self.embed(docs[:, i]))
            sentences[:, i] = self.word_attn(out)
        out, _ = self.sent_gru(sentences)
        return F.log_softmax(self.fc(self.sent_attn(out)), dim=1)


def build():
    return HAN(5, 4, 2)


def run(model):
    random.seed(8)
    labels = [i % 2 for i in range(8)]
    docs = torch.LongTensor(
        [[[random.randint(0, 4) + 5 * y * (s == 1) for _ in range(4)] for s in range(3)] for y in labels]
    )
    target = torch.LongTensor(labels)
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=0.02)
    losses = []
    for _epoch in range(10):
        optimizer.zero_grad()
        loss = F.nll_loss(model(docs), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
