"""Sequence to sequence with attention, masking and teacher forcing: reversing numbers."""

import random

import nn
import nn.functional as F
import tinygrad_seq as torch
from nn import optim

PAD, SOS, EOS = 0, 1, 2
VOCAB = 9


class Encoder(nn.Module):
    def __init__(self, vocab, hid):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hid, padding_idx=PAD)
        self.gru = nn.GRU(hid, hid, bidirectional=True)
        self.fc = nn.Linear(2 * hid, hid)

    def forward(self, src):
        outputs, hidden = self.gru(self.embedding(src))
        hidden = torch.tanh(self.fc(torch.cat((hidden[-2, :, :], hidden[-1, :, :]), dim=1)))
        return outputs, hidden


class Attention(nn.Module):
    def __init__(self, hid):
        super().__init__()
        self.attn = nn.Linear(3 * hid, hid)
        self.v = nn.Parameter(torch.rand(hid))

    def forward(self, hidden, encoder_outputs, mask):
        src_len, batch_size = encoder_outputs.shape[0], encoder_outputs.shape[1]
        hidden = hidden.unsqueeze(1).repeat(1, src_len, 1)
        encoder_outputs = encoder_outputs.permute(1, 0, 2)
        energy = torch.tanh(self.attn(torch.cat((hidden, encoder_outputs), dim=2))).permute(0, 2, 1)
        v = self.v.repeat(batch_size, 1).unsqueeze(1)
        attention = torch.bmm(v, energy).squeeze(1)
        attention = attention.masked_fill(mask == 0, -1e9)
        return F.softmax(attention, dim=1)


class Decoder(nn.Module):
    def __init__(self, vocab, hid):
        super().__init__()
        self.attention = Attention(hid)
        self.embedding = nn.Embedding(vocab, hid)
        self.rnn = nn.GRU(3 * hid, hid)
        self.out = nn.Linear(4 * hid, vocab)

    def forward(self, input, hidden, encoder_outputs, mask):
        embedded = self.embedding(input.unsqueeze(0))
        a = self.attention(hidden, encoder_outputs, mask).unsqueeze(1)
        weighted = torch.bmm(a, encoder_outputs.permute(1, 0, 2)).permute(1, 0, 2)
        output, hidden = self.rnn(torch.cat((embedded, weighted), dim=2), hidden.unsqueeze(0))
        prediction = self.out(torch.cat((output.squeeze(0), weighted.squeeze(0), embedded.squeeze(0)), dim=1))
        return prediction, hidden.squeeze(0), a.squeeze(1)


class Seq2Seq(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, src, trg, teacher_forcing_ratio=0.5):
        trg_len, batch_size = trg.shape
        outputs = torch.zeros(trg_len, batch_size, VOCAB)
        encoder_outputs, hidden = self.encoder(src)
        mask = (src != PAD).permute(1, 0)
        input, predictions = trg[0, :], [outputs[0]]
        for t in range(1, trg_len):
            output, hidden, _ = self.decoder(input, hidden, encoder_outputs, mask)
            predictions.append(output)
            top1 = output.argmax(1)
            input = trg[t] if random.random() < teacher_forcing_ratio else top1
        return torch.stack(predictions)


def build():
    return Seq2Seq(Encoder(VOCAB, 12), Decoder(VOCAB, 12))


def batch(n):
    rows = [[random.randint(3, VOCAB - 1) for _ in range(random.randint(2, 5))] for _ in range(n)]
    src = [r + [EOS] + [PAD] * (5 - len(r)) for r in rows]
    trg = [[SOS, *r[::-1], EOS] + [PAD] * (5 - len(r)) for r in rows]
    return torch.tensor(src).t(), torch.tensor(trg).t()


def run(model):
    random.seed(3)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)
    losses = []
    for _ in range(12):
        src, trg = batch(6)
        optimizer.zero_grad()
        output = model(src, trg)
        loss = criterion(output[1:].view(-1, VOCAB), trg[1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        losses.append(loss.item())
    return losses
