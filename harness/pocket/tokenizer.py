"""The pocket models' tokenizer: byte-level BPE, single digits, capitals apart from the space before them.

Numbers and names in capitals never carry their space: what stands after 'VAR ' in a text and what is written after a
prompt that ends in a space are then the same tokens.
"""

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from harness.pocket import data

VOCABULARY = 4096
BEGIN = "<|begin|>"
PATTERN = r"'[a-z]{1,2}| ?[A-Z]?[a-z]+|[A-Z]+|[0-9]| ?[^\sA-Za-z0-9]+|\n+| +(?= )|\s"


def train(folder: Path) -> None:
    """Train on two million characters of the pre-training data and write the tokenizer's files to the folder."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BEGIN, data.END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(data.corpus(2_000_000), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=data.END, pad_token=data.END, model_max_length=512
    )
    fast.save_pretrained(folder)
