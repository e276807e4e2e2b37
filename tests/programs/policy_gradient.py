"""REINFORCE with a recurrent policy: remember a cue and answer it two steps later."""

import random

import tinygrad_seq as torch
import tinygrad_seq.nn as nn
import tinygrad_seq.nn.functional as F
import tinygrad_seq.optim as optim
from tinygrad_seq.distributions import Categorical


class Policy(nn.Module):
    def __init__(self):
        super(Policy, self).__init__()
        self.gru = nn.GRUCell(3, 8)
        self.action_head = nn.Linear(8, 2)
        self.value_head = nn.Linear(8, 1)

    def forward(self, x, h):
        h = self.gru(x, h)
        return F.softmax(self.action_head(h), dim=-1), self.value_head(h), h


def episode(model, cue):
    h = torch.zeros(1, 8)
    for t in range(3):
        x = torch.zeros(1, 3)
        x[0, cue if t == 0 else 2] = 1.0
        probs, value, h = model(x, h)
    m = Categorical(probs)
    action = 0 if random.random() < probs[0, 0].item() else 1  # as m.sample(), by a generator that all share
    reward = 1.0 if action == cue else 0.0
    return m.log_prob(torch.tensor([action])), value, reward, m.entropy()


def build():
    return Policy()


def run(model):
    random.seed(0)
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    numbers = []
    for _update in range(8):
        policy_losses, value_losses = [], []
        for i in range(8):
            log_prob, value, reward, entropy = episode(model, i % 2)
            advantage = reward - value.item()
            policy_losses.append(-log_prob * advantage - 0.01 * entropy)
            value_losses.append(F.smooth_l1_loss(value, torch.tensor([[reward]])))
        optimizer.zero_grad()
        loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
        loss.backward()
        optimizer.step()
        numbers.append(torch.stack(value_losses).sum().item())
    return numbers
