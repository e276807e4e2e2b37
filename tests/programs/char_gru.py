"""A character-level GRU that learns a text and samples from it with a temperature."""

import random

import nn
import nn.functional as F
import tinygrad_seq as torch
from nn import optim

text = "hello world, hello there, hello moon; the world is round and the moon is too. " * 6
chars = sorted(list(set(text)))
char_to_ix = {ch: i for i, ch in enumerate(chars)}
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class CharRNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size, n_layers=1):
        super().__init__()
        self.hidden_size, self.n_layers = hidden_size, n_layers
        self.encoder = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, n_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, output_size)

    def forward(self, x, hidden):
        out, hidden = self.gru(self.encoder(x), hidden)
        return self.fc(out), hidden

    def init_hidden(self, batch_size):
        return torch.zeros(self.n_layers, batch_size, self.hidden_size).to(device)


def char_tensor(string):
    tensor = torch.zeros(len(string)).long()
    for c in range(len(string)):
        tensor[c] = char_to_ix[string[c]]
    return tensor


def build():
    return CharRNN(len(chars), 24, len(chars)).to(device)


def sample(model, prime="hello", predict_len=40, temperature=0.8):
    hidden = model.init_hidden(1)
    prime_input = char_tensor(prime).unsqueeze(0).to(device)
    _, hidden = model(prime_input[:, :-1], hidden)
    inp, predicted = prime_input[:, -1:], prime
    for _ in range(predict_len):
        output, hidden = model(inp, hidden)
        output_dist = output.data.view(-1).div(temperature).exp()
        top_i = torch.multinomial(output_dist, 1)[0]
        predicted += chars[top_i]
        inp = char_tensor(chars[top_i.item()]).unsqueeze(0).to(device)
    return predicted


def run(model):
    random.seed(0)
    torch.manual_seed(1)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    losses = []
    for _ in range(25):
        starts = [random.randint(0, len(text) - 22) for _ in range(8)]
        chunk = torch.stack([char_tensor(text[s : s + 21]) for s in starts])
        inp, target = chunk[:, :-1].to(device), chunk[:, 1:].to(device)
        hidden = model.init_hidden(8)
        model.zero_grad()
        output, hidden = model(inp, hidden)
        loss = F.cross_entropy(output.reshape(-1, len(chars)), target.reshape(-1))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        assert len(sample(model)) == 45
    return losses
