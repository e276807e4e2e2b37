"""A sentiment classifier: loops for training and validation, a schedule, a checkpoint saved and restored."""

import os
import random
import tempfile

import nn
import tinygrad_seq as torch
from nn import optim

GOOD, BAD = ["good", "fine", "lovely", "bright"], ["bad", "dull", "awful", "grim"]
FILLER = ["the", "film", "was", "and", "plot", "seemed"]
vocab = {w: i + 1 for i, w in enumerate(GOOD + BAD + FILLER)}


def make(n, rng):
    xs, ys = [], []
    for _ in range(n):
        label = rng.random() < 0.5
        words = [rng.choice(FILLER) for _ in range(7)]
        words[rng.randrange(7)] = rng.choice(GOOD if label else BAD)
        xs.append([vocab[w] for w in words])
        ys.append(float(label))
    return torch.tensor(xs), torch.tensor(ys)


class SentimentNet(nn.Module):
    def __init__(self, vocab_size, embedding_dim=8, hidden_dim=16, n_layers=2, drop_prob=0.0):
        super().__init__()
        self.n_layers, self.hidden_dim = n_layers, hidden_dim
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, n_layers, dropout=drop_prob, batch_first=True)
        self.dropout = nn.Dropout(0.0)
        self.fc = nn.Sequential(nn.Linear(hidden_dim, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, x, hidden):
        lstm_out, hidden = self.lstm(self.embedding(x.long()), hidden)
        out = self.dropout(lstm_out[:, -1, :])
        return self.fc(out).squeeze(1), hidden

    def init_hidden(self, batch_size):
        weight = next(self.parameters()).data
        return (
            weight.new(self.n_layers, batch_size, self.hidden_dim).zero_(),
            weight.new(self.n_layers, batch_size, self.hidden_dim).zero_(),
        )


def build():
    return SentimentNet(len(vocab) + 1)


def run(model):
    rng = random.Random(2)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = optim.AdamW(model.parameters(), lr=0.02, weight_decay=1e-3)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    val_x, val_y = make(40, rng)
    record, best = [], float("inf")
    path = os.path.join(tempfile.mkdtemp(), "best.npz")
    for _epoch in range(4):
        model.train()
        h = model.init_hidden(16)
        for _ in range(5):
            inputs, labels = make(16, rng)
            h = tuple([each.data for each in h])
            model.zero_grad()
            output, h = model(inputs, h)
            loss = criterion(output.squeeze(), labels.float())
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5)
            optimizer.step()
            record.append(loss.item())
        scheduler.step()
        record.append(scheduler.get_last_lr()[0])
        model.eval()
        with torch.no_grad():
            output, _ = model(val_x, model.init_hidden(40))
            val_loss = criterion(output, val_y).item()
            accuracy = (torch.round(torch.sigmoid(output)) == val_y).float().mean().item()
        record += [val_loss, accuracy]
        if val_loss < best:
            best = val_loss
            torch.save(model.state_dict(), path)
    for p in model.parameters():
        p.data.zero_()
    model.load_state_dict(torch.load(path))
    with torch.no_grad():
        output, _ = model(val_x, model.init_hidden(40))
    assert abs(criterion(output, val_y).item() - best) < 1e-6
    record.append(sum(p.numel() for p in model.parameters() if p.requires_grad))
    return record
