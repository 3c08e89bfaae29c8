"""Run by tests/test_engines.py in a Python that has mlx-lm: a unit vector turned by the model's own RoPE.

Reads a config.json from its input; prints cos and sin (positions, 2, pairs), attention factor included, as JSON.
"""

import json
import sys

import mlx.core as mx
from mlx_lm.models.llama import Attention, ModelArgs

args = ModelArgs.from_dict(json.loads(sys.stdin.read()))
rope = Attention(args).rope
dims = args.head_dim
rows = []
for position in (0, 1, 64, 500, 4000):
    vector = mx.zeros((1, 1, 1, dims))
    vector[..., : dims // 2] = 1.0  # first of the two numbers of each pair
    turned = rope(vector, offset=position)[0, 0, 0]
    rows.append([turned[: dims // 2].tolist(), turned[dims // 2 :].tolist()])
print(json.dumps(rows))
