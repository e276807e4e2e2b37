"""An LSTM autoencoder of short curves, batches from a DataLoader; the worst reconstruction is the anomaly."""

import math

import tinygrad_seq as torch
from tinygrad_seq import nn
from tinygrad_seq.utils.data import DataLoader, Dataset


class Curves(Dataset):  # type: ignore[type-arg]
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.tensor([[math.sin(0.7 * t + i)] for t in range(9)])


class Encoder(nn.Module):
    def __init__(self, seq_len, n_features, embedding_dim):
        super(Encoder, self).__init__()
        self.seq_len, self.n_features = seq_len, n_features
        self.rnn1 = nn.LSTM(input_size=n_features, hidden_size=2 * embedding_dim, num_layers=1, batch_first=True)
        self.rnn2 = nn.LSTM(input_size=2 * embedding_dim, hidden_size=embedding_dim, batch_first=True)

    def forward(self, x):
        x, (_, _) = self.rnn1(x)
        x, (hidden_n, _) = self.rnn2(x)
        return hidden_n[-1]


class Decoder(nn.Module):
    def __init__(self, seq_len, input_dim, n_features):
        super(Decoder, self).__init__()
        self.seq_len = seq_len
        self.rnn1 = nn.LSTM(input_dim, input_dim, batch_first=True)
        self.rnn2 = nn.LSTM(input_dim, 2 * input_dim, batch_first=True)
        self.output_layer = nn.Linear(2 * input_dim, n_features)

    def forward(self, x):
        x = x.unsqueeze(1).repeat(1, self.seq_len, 1)
        x, _ = self.rnn1(x)
        x, _ = self.rnn2(x)
        return self.output_layer(x)


def build():
    return nn.Sequential(Encoder(9, 1, 6), Decoder(9, 6, 1))


def run(model):
    loader = DataLoader(dataset=Curves(12), batch_size=5, shuffle=False, drop_last=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.L1Loss(reduction="sum")
    history = []
    for _epoch in range(6):
        train_losses = []
        for seq_true in loader:
            optimizer.zero_grad()
            loss = criterion(model(seq_true), seq_true)
            loss.backward()
            optimizer.step()
            train_losses.append(loss.item())
        history.append(sum(train_losses) / len(train_losses))
    with torch.no_grad():
        curves = [Curves(3)[i].unsqueeze(0) for i in range(3)]
        errors = [criterion(model(x), x).item() for x in curves]
    return history + errors
