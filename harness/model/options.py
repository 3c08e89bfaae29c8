"""What may be asked for when a model is loaded: number formats and attention kernels, by the names of transformers."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTION = ("sdpa", "eager", "flex_attention", "flash_attention_2")
