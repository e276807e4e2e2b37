"""Translation of digits to words with attention over packed encoder states, decoded by beam search."""

import random

import nn
import nn.functional as F
import tinygrad_seq as torch
from nn import optim
from nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

PAD, BOS, EOS = 0, 1, 2
WORDS = ["one", "two", "three", "four", "five"]
ITOS = ["<pad>", "<bos>", "<eos>", *WORDS]
STOI = {word: i for i, word in enumerate(ITOS)}


class Encoder(nn.Module):
    def __init__(self, vocab, dim, hidden):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.rnn = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.bridge = nn.ModuleList([nn.Linear(2 * hidden, hidden) for _ in range(2)])

    def forward(self, src, lengths):
        packed = pack_padded_sequence(self.embed(src), lengths, batch_first=True, enforce_sorted=False)
        outputs, (h, c) = self.rnn(packed)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True)
        state = tuple(f(torch.hstack([s[0], s[1]])).tanh() for f, s in zip(self.bridge, (h, c)))
        return outputs, state


class LuongAttention(nn.Module):
    def __init__(self, hidden, memory):
        super().__init__()
        self.W = nn.Linear(memory, hidden, bias=False)
        self.out = nn.Linear(hidden + memory, hidden)

    def forward(self, query, memory, mask):
        scores = torch.bmm(self.W(memory), query.unsqueeze(2)).squeeze(2)
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = F.softmax(scores, dim=-1)
        context = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)
        return torch.tanh(self.out(torch.concat([context, query], dim=-1))), weights


class Decoder(nn.Module):
    def __init__(self, vocab, dim, hidden):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=PAD)
        self.cell = nn.LSTMCell(dim + hidden, hidden)
        self.attention = LuongAttention(hidden, 2 * hidden)
        self.proj = nn.Linear(hidden, vocab)

    def forward(self, token, feed, state, memory, mask):
        state = self.cell(torch.cat([self.embed(token), feed], dim=1), state)
        feed, weights = self.attention(state[0], memory, mask)
        return self.proj(feed), feed, state, weights


class Translator(nn.Module):
    def __init__(self, dim=8, hidden=16):
        super().__init__()
        self.add_module("encoder", Encoder(6, dim, hidden))
        self.add_module("decoder", Decoder(len(ITOS), dim, hidden))
        self.hidden = hidden

    def forward(self, src, lengths, tgt):
        memory, state = self.encoder(src, lengths)
        mask = torch.arange(memory.size(1)).unsqueeze(0) < lengths.unsqueeze(1)
        feed = memory.new_zeros(src.size(0), self.hidden)
        logits = []
        for t in range(tgt.size(1) - 1):
            step, feed, state, _ = self.decoder(tgt[:, t], feed, state, memory, mask)
            logits.append(step)
        return torch.stack(logits, dim=1)

    @torch.no_grad()
    def beam_search(self, src, lengths, width=3, max_len=8):
        self.eval()
        B, V = src.size(0), len(ITOS)
        memory, state = self.encoder(src, lengths)
        mask = torch.arange(memory.size(1)) < lengths.view(-1, 1)
        memory, mask = (x.repeat_interleave(width, dim=0) for x in (memory, mask))
        state = tuple(s.repeat_interleave(width, dim=0) for s in state)
        feed = memory.new_zeros(B * width, self.hidden)
        scores = torch.full((B, width), float("-inf"))
        scores[:, 0] = 0.0
        tokens = torch.full((B * width, 1), BOS, dtype=torch.long)
        done = torch.zeros(B * width, dtype=torch.bool)
        stay = torch.full((V,), -torch.inf).index_fill(0, torch.tensor([PAD]), 0.0)
        offsets = (torch.arange(B) * width).unsqueeze(1)
        for _ in range(max_len):
            logits, feed, state, _ = self.decoder(tokens[:, -1], feed, state, memory, mask)
            logp = torch.where(done.unsqueeze(1), stay, F.log_softmax(logits, dim=-1))
            total = (scores.view(-1, 1) + logp).view(B, -1)
            scores, flat = total.topk(width, dim=-1)
            beam = (torch.div(flat, V, rounding_mode="floor") + offsets).view(-1)
            word = flat.remainder(V).view(-1, 1)
            tokens = torch.cat([tokens.index_select(0, beam), word], dim=1)
            state = tuple(s[beam] for s in state)
            feed = feed[beam]
            done = done[beam] | torch.isin(word.squeeze(1), torch.tensor([EOS, PAD]))
            if done.all():
                break
        best = tokens.view(B, width, -1)[:, 0, 1:]
        return [[ITOS[i] for i in row if i not in (PAD, EOS)] for row in best.tolist()], scores[:, 0]


def batch(n):
    rows = [[random.randint(1, 5) for _ in range(random.randint(1, 4))] for _ in range(n)]
    src = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=0)
    tgt = [torch.tensor([BOS, *(STOI[WORDS[d - 1]] for d in row), EOS]) for row in rows]
    return src, torch.tensor([len(row) for row in rows]), pad_sequence(tgt, batch_first=True, padding_value=PAD), rows


def build():
    return Translator()


def run(model):
    random.seed(7)
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    warmup = 5
    scheduler = optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (warmup / (step + 1)) ** 0.5)
    )
    criterion = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.05)
    losses = []
    for step in range(40):
        src, lengths, tgt, _ = batch(16)
        model.train()
        logits = model(src, lengths, tgt)
        loss = criterion(logits.flatten(0, 1), tgt[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    src, lengths, tgt, rows = batch(20)
    found, scores = model.beam_search(src, lengths)
    right = sum([WORDS[d - 1] for d in row] == words for row, words in zip(rows, found))
    return [*losses, right / len(rows), *scores.tolist()]
