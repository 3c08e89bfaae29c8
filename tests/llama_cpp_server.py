"""Run by tests/llama_cpp.py in a Python that has xllamacpp: llama.cpp's server in this process, asked over HTTP.

Reads one JSON object from its input and prints one line of JSON. Options are those of llama.cpp's command line.
"""

import json
import sys
import urllib.request

import xllamacpp

NAMES = {
    "--ctx-size": ("n_ctx", int),
    "--rope-scale": ("rope_freq_scale", lambda text: 1 / float(text)),
    "--rope-freq-base": ("rope_freq_base", float),
    "--yarn-orig-ctx": ("yarn_orig_ctx", int),
    "--yarn-ext-factor": ("yarn_ext_factor", float),
    "--yarn-attn-factor": ("yarn_attn_factor", float),
    "--yarn-beta-fast": ("yarn_beta_fast", float),
    "--yarn-beta-slow": ("yarn_beta_slow", float),
}
TYPES = {"none": "NONE", "linear": "LINEAR", "yarn": "YARN"}

asked = json.loads(sys.stdin.read())
params = xllamacpp.CommonParams()
params.model.path = asked["model"]
params.n_parallel = 1
params.n_ctx = 512
params.warmup = False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
params.fit_params = False
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
for flag, value in zip(asked["flags"][::2], asked["flags"][1::2], strict=True):
    if flag == "--rope-scaling":
        kind = "LLAMA_ROPE_SCALING_TYPE_" + TYPES[value]
        params.rope_scaling_type = getattr(xllamacpp.llama_rope_scaling_type, kind)
    else:
        name, read = NAMES[flag]
        setattr(params, name, read(value))
server = xllamacpp.Server(params)
rows = []
for prompt in asked["prompts"]:
    body = {"prompt": prompt, "n_predict": asked["new"], "n_probs": asked["most"], "temperature": 0, "top_k": 1}
    body |= {"cache_prompt": False, "ignore_eos": True, "samplers": ["temperature"], "post_sampling_probs": False}
    request = urllib.request.Request(
        server.listening_address + "/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    answer = json.loads(urllib.request.urlopen(request, timeout=200).read())
    tokens = answer["completion_probabilities"]
    rows.append([[[row["id"], row["logprob"]] for row in token["top_logprobs"]] for token in tokens])
print("\n" + json.dumps(rows), flush=True)
