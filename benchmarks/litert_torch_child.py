"""Child process in litert-torch's environment, which imports only edgesr's networks."""

import sys

import litert_torch
import torch

from edgesr.networks.spec import build, find_spec

model, checkpoint, height, width, target = sys.argv[1:]
net = build(find_spec(model)).eval()
net.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
channel_last = litert_torch.to_channel_last_io(net, args=[0], outputs=[0])
sample = torch.zeros(1, int(height), int(width), 3)
litert_torch.convert(channel_last.eval(), (sample,)).export(target)
