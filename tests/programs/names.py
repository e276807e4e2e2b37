"""A classifier of names, whose recurrence is two linear layers written by hand, updated by hand."""

import random

import nn
import tinygrad_seq as torch

data = {
    "Italian": ["Rossi", "Bianchi", "Romano", "Ferrari", "Marino"],
    "Scottish": ["McGregor", "MacLeod", "Campbell", "Stewart", "Fraser"],
    "Polish": ["Nowak", "Kowalski", "Zielinski", "Wozniak", "Kaminski"],
}
categories = list(data)
letters = sorted(set("".join(n for names in data.values() for n in names)))


def line_to_tensor(line):
    tensor = torch.zeros(len(line), 1, len(letters))
    for li, letter in enumerate(line):
        tensor[li][0][letters.index(letter)] = 1
    return tensor


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super(RNN, self).__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        combined = torch.cat((input, hidden), 1)
        hidden = self.i2h(combined)
        output = self.softmax(self.i2o(combined))
        return output, hidden

    def initHidden(self):
        return torch.zeros(1, self.hidden_size)


def category_from_output(output):
    _, top_i = output.topk(1)
    return categories[top_i[0].item()]


def build():
    return RNN(len(letters), 16, len(categories))


def run(rnn):
    random.seed(5)
    criterion = nn.NLLLoss()
    learning_rate = 0.02
    losses, right = [], 0
    for _ in range(60):
        category = random.choice(categories)
        line_tensor = line_to_tensor(random.choice(data[category]))
        category_tensor = torch.tensor([categories.index(category)], dtype=torch.long)
        hidden = rnn.initHidden()
        rnn.zero_grad()
        for i in range(line_tensor.size()[0]):
            output, hidden = rnn(line_tensor[i], hidden)
        loss = criterion(output, category_tensor)
        loss.backward()
        for p in rnn.parameters():
            p.data.add_(p.grad.data, alpha=-learning_rate)
        losses.append(loss.item())
        right += category_from_output(output) == category
    return [*losses, right / 60]
