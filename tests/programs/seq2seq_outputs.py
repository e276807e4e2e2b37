"""Encoder and decoder of LSTMs; the predictions are written step by step into a tensor of zeros."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.optim as optim

VOCAB, SOS = 8, 1
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Encoder(nn.Module):
    def __init__(self, input_dim, emb_dim, hid_dim, n_layers):
        super().__init__()
        self.embedding = nn.Embedding(input_dim, emb_dim)
        self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers)

    def forward(self, src):
        outputs, (hidden, cell) = self.rnn(self.embedding(src))
        return hidden, cell


class Decoder(nn.Module):
    def __init__(self, output_dim, emb_dim, hid_dim, n_layers):
        super().__init__()
        self.output_dim = output_dim
        self.embedding = nn.Embedding(output_dim, emb_dim)
        self.rnn = nn.LSTM(emb_dim, hid_dim, n_layers)
        self.fc_out = nn.Linear(hid_dim, output_dim)

    def forward(self, input, hidden, cell):
        embedded = self.embedding(input.unsqueeze(0))
        output, (hidden, cell) = self.rnn(embedded, (hidden, cell))
        return self.fc_out(output.squeeze(0)), hidden, cell


class Seq2Seq(nn.Module):
    def __init__(self, encoder, decoder, device):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.device = device

    def forward(self, src, trg, teacher_forcing_ratio=0.5):
        trg_len, batch_size = trg.shape
        outputs = torch.zeros(trg_len, batch_size, self.decoder.output_dim).to(self.device)
        hidden, cell = self.encoder(src)
        input = trg[0, :]
        for t in range(1, trg_len):
            output, hidden, cell = self.decoder(input, hidden, cell)
            outputs[t] = output
            teacher_force = random.random() < teacher_forcing_ratio
            input = trg[t] if teacher_force else output.argmax(1)
        return outputs


def build():
    model = Seq2Seq(Encoder(VOCAB, 6, 12, 2), Decoder(VOCAB, 6, 12, 2), device).to(device)
    for _name, param in model.named_parameters():
        nn.init.uniform_(param.data, -0.3, 0.3)
    return model


def run(model):
    random.seed(1)
    src = torch.tensor([[random.randint(2, VOCAB - 1) for _ in range(8)] for _ in range(5)])
    trg = torch.cat([torch.full((1, 8), SOS, dtype=torch.long), src.flip(0)])
    optimizer, criterion = optim.Adam(model.parameters(), lr=0.03), nn.CrossEntropyLoss(ignore_index=0)
    losses = []
    for _epoch in range(10):
        model.train()
        optimizer.zero_grad()
        output = model(src, trg)
        loss = criterion(output[1:].view(-1, output.shape[-1]), trg[1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        losses.append(loss.item())
    return losses
