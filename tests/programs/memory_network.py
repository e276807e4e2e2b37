"""An end-to-end memory network with two hops: where is the person?"""

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
import tinygrad_seq.optim as optim

PEOPLE, PLACES = ["mary", "john"], ["kitchen", "garden", "hall"]
words = ["<pad>", "went", "where", "is", *PEOPLE, *PLACES]
word2idx = {w: i for i, w in enumerate(words)}


def stories():
    for a in range(3):
        for b in range(3):
            yield [["mary", "went", PLACES[a]], ["john", "went", PLACES[b]]], ["where", "is", "mary"], PLACES[a]
            yield [["mary", "went", PLACES[a]], ["john", "went", PLACES[b]]], ["where", "is", "john"], PLACES[b]


class MemN2N(nn.Module):
    def __init__(self, vocab_size, embd_size, hops):
        super().__init__()
        self.max_hops = hops
        for hop in range(hops + 1):
            C = nn.Embedding(vocab_size, embd_size, padding_idx=0)
            C.weight.data.normal_(0, 0.3)
            self.add_module("C_{}".format(hop), C)
        self.temporal = nn.Parameter(torch.Tensor(1, 2, embd_size).normal_(0, 0.1))

    def forward(self, story, query):
        u = torch.sum(self.C_0(query), 1)
        for hop in range(self.max_hops):
            A, C = getattr(self, f"C_{hop}"), getattr(self, f"C_{hop + 1}")
            m_A = torch.sum(A(story), 2) + self.temporal
            prob = F.softmax(torch.sum(m_A * u.unsqueeze(1).expand_as(m_A), 2), -1)
            m_C = torch.sum(C(story), 2)
            u = u + torch.sum(m_C * prob.unsqueeze(2), 1)
        return u @ getattr(self, f"C_{self.max_hops}").weight.transpose(0, 1)


def build():
    return MemN2N(len(words), 10, 2)


def run(model):
    data = list(stories())
    story = torch.tensor([[[word2idx[w] for w in line] for line in s] for s, _, _ in data])
    query = torch.tensor([[word2idx[w] for w in q] for _, q, _ in data])
    answer = torch.tensor([word2idx[a] for _, _, a in data])
    optimizer = optim.Adagrad(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    losses = []
    for _epoch in range(15):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(story, query), answer)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 40.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.data.item())
    return losses
