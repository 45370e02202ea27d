"""Makes the model which the demonstration and the end-to-end tests serve: a Llama of random weights.

Run by the vLLM environment's Python, as `python demo/tiny_model.py OUT_DIR`; imports nothing from Stoker,
because that environment does not have it. Needs no network: the tokenizer is trained on the text in this
file. The same parameters always give the same weights, and a second run with them does nothing.

What comes out is word salad, but well behaved: see `_fix_output_head` for why it never stops early.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

MARKER_NAME = "stoker_model.json"
# Part of the marker: raise it when the same parameters should give different files.
RECIPE = 1

HEAD_SIZE = 32
VOCABULARY_SIZE_MAX = 1024
BEGIN_TOKEN, END_TOKEN, PAD_TOKEN = "<|begin|>", "<|end|>", "<|pad|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIAL_TOKENS = (BEGIN_TOKEN, END_TOKEN, PAD_TOKEN, *ROLE_TOKENS)

# Unknown roles (a tool's answer, say) are shown as the user's, so that no valid request is refused.
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- set role = message['role'] if message['role'] in ['system', 'user', 'assistant'] else 'user' -%}
{{- '<|' ~ role ~ '|>' ~ (message['content'] or '') ~ eos_token -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

# The vocabulary's only teacher. Its words are what the model babbles, hence the subject.
TRAINING_TEXT = """\
A stoker looks after a furnace. He reads the gauges, he listens to the draught, and he shovels coal where the
fire is thin. Too little coal and the steam falls away; too much and the grate chokes, and the heat is lost.
The whole art is to feed every fire as fast as it can burn, and no faster.
A graphics processor is a furnace of another kind. It eats requests and gives out tokens. When requests are
few the processor waits for its own memory: each step reads all the weights, and does little work with them.
When requests are many the same weights serve the whole batch, and the work for each byte which is read grows.
The ratio of work to bytes is called the arithmetic intensity. Below the ridge of the roof the memory is the
limit, and above the ridge the arithmetic is. A good scheduler keeps the engine close to the ridge.
Every request keeps its keys and its values in blocks of memory. A block which holds the beginning of a prompt
can be used again by another request with the same beginning. So the router remembers who has read what, and
sends a question to the engine that has heard most of it before. A question that hits the cache starts sooner.
But a crowd at one engine is worse than a cold cache at another, and the router must weigh one against the
other: the length of the queue, the blocks that are free, the tokens still to be read, and the time to first
token that the caller was promised.
When memory runs out the engine takes a request off the table and starts it again later. This is called a
preemption. It wastes work which was done already, and so the gate is better closed before than after.
A request that cannot be served in time should hear so at once, with a reason and a time to try again. A polite
refusal costs nothing, while a slow answer costs the patience of everyone who waits behind it.
The fleet lives in more than one cloud. Here the hours are cheap and the machines disappear at noon; there they
are dear and steady. An agent runs on each machine and looks after the engines. It starts them and stops them,
it watches their pulse, it reports what it sees, and it does what the plan says. When the link is cut the agent
keeps the fires burning, and tells the whole story when the link is back.
The plan is a list of wishes: how many copies of which model, on what hardware, in which region. The control
plane compares the wishes with the world and sends orders until the two agree. An order has a number, and an
order that arrives twice is carried out once. Nothing is forgotten, because each change is written in the book
before it is told to anyone.
The operator sits at a console. There is a table of engines, with a line for each, and small charts of load, of
memory, and of the tokens which flow. Green is well, yellow is warm, and red needs a hand. A key opens the log,
another drains an engine, and a third gives the day back to the machine. Before a dangerous order the console
asks once, and shows what would change: which requests move, how many wait, and what it costs.
Good morning. How are you today? I am well, thank you, and you? What is the weather like? It is raining in the
north and dry in the south. Please tell me a story about a lighthouse. Once upon a time there was a keeper who
counted the ships, and every night he wrote the number in a small blue notebook. Why is the sky blue? Because
the air scatters short waves more than long ones. Write a function which adds two numbers. Explain it like I am
five. Summarise this text in one sentence. Translate the following words. Give me a list of three ideas.
def add(first, second): return first + second
for name in names: print(name, len(name))
SELECT model, count(*) FROM engines WHERE state = 'ready' GROUP BY model ORDER BY count(*) DESC;
{"model": "tiny", "stream": true, "max_tokens": 64, "temperature": 0.7}
0 1 2 3 4 5 6 7 8 9 10 12 16 20 24 32 48 64 100 128 256 500 512 1000 1024 2048 4096
"""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything the files depend on."""

    name: str
    seed: int
    layers_count: int
    hidden_size: int
    context_tokens: int
    recipe: int = RECIPE

    def weights_seed(self) -> int:
        """Two names are two models even with one seed, so that a fleet can tell their answers apart."""
        digest = hashlib.sha256(f"{self.name}/{self.seed}".encode()).digest()
        return int.from_bytes(digest[:4], "big")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a tiny Llama of random weights, with a tokenizer.")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR")
    parser.add_argument("--name", default="tiny-llama")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--context", type=int, default=2048, help="longest prompt and answer together, in tokens")
    chosen = parser.parse_args(arguments)
    if chosen.hidden < 2 * HEAD_SIZE or chosen.hidden % (2 * HEAD_SIZE):
        parser.error(f"--hidden must be a multiple of {2 * HEAD_SIZE}")
    if chosen.layers < 1 or chosen.context < 1:
        parser.error("--layers and --context must be at least 1")
    recipe = Recipe(chosen.name, chosen.seed, chosen.layers, chosen.hidden, chosen.context)
    out_dir: Path = chosen.out_dir.absolute()

    if _is_made(out_dir, recipe):
        print(f"{out_dir} is up to date")
        return 0
    if out_dir.exists() and not _is_replaceable(out_dir):
        print(f"{out_dir} exists and was not made by this program; give another place", file=sys.stderr)
        return 1
    make(out_dir, recipe)
    print(f"made {recipe.name} in {out_dir}")
    return 0


def make(out_dir: Path, recipe: Recipe) -> None:
    """Writes into a directory beside `out_dir` and renames: an interrupted run leaves nothing half made."""
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=f".{out_dir.name}.") as scratch:
        # One level down, because the temporary directory itself may be read by its owner only.
        fresh = Path(scratch) / "model"
        fresh.mkdir()
        tokenizer = _make_tokenizer(recipe)
        tokenizer.save_pretrained(fresh)
        _make_weights(recipe, tokenizer, fresh)
        (fresh / MARKER_NAME).write_text(json.dumps(dataclasses.asdict(recipe), indent=2) + "\n")
        if out_dir.exists():
            # Leaves with the temporary directory, at the end.
            out_dir.rename(Path(scratch) / "previous")
        try:
            fresh.rename(out_dir)
        except OSError:
            # Another run with the same parameters may have come first; then there is nothing left to do.
            if not _is_made(out_dir, recipe):
                raise


def _is_made(out_dir: Path, recipe: Recipe) -> bool:
    try:
        found = json.loads((out_dir / MARKER_NAME).read_text())
    except (OSError, ValueError):
        return False
    return bool(found == dataclasses.asdict(recipe))


def _is_replaceable(out_dir: Path) -> bool:
    """Ours, or empty: a mistyped path must not cost anybody a directory."""
    return out_dir.is_dir() and ((out_dir / MARKER_NAME).is_file() or not any(out_dir.iterdir()))


def _make_tokenizer(recipe: Recipe) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE_MAX,
        special_tokens=list(SPECIAL_TOKENS),
        # All 256 bytes from the start: any text can be encoded, and no unknown token is needed.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TRAINING_TEXT.splitlines(keepends=True), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN_TOKEN,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        additional_special_tokens=list(ROLE_TOKENS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=recipe.context_tokens,
        clean_up_tokenization_spaces=False,
    )


def _make_weights(recipe: Recipe, tokenizer: Any, directory: Path) -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging as transformers_logging

    heads_count = recipe.hidden_size // HEAD_SIZE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=2 * recipe.hidden_size,
        num_hidden_layers=recipe.layers_count,
        num_attention_heads=heads_count,
        # Grouped-query attention, as in the models which people really serve: what is computed from the
        # number of KV heads and what from the number of query heads then comes out different.
        num_key_value_heads=heads_count // 2,
        head_dim=HEAD_SIZE,
        max_position_embeddings=recipe.context_tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        # Drawn and kept as float32: not every CPU computes bfloat16 at a decent speed.
        dtype="float32",
    )
    torch.manual_seed(recipe.weights_seed())
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        _fix_output_head(model, _mute_token_ids(tokenizer))
    # Sampling is left to the request. Without this file an engine would choose its own defaults, which differ.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformers_logging.disable_progress_bar()
    model.save_pretrained(directory)
    for path in directory.iterdir():
        # Weights are written for their owner only, but the engine may run as another user.
        path.chmod(0o644)


def _fix_output_head(model: Any, mute_token_ids: list[int]) -> None:
    """Makes some tokens impossible, with nothing but weights.

    Random weights draw the end-of-text token once in about a thousand tokens, so that one answer in five of 256
    tokens would end early, and load tests would measure luck. Hence channel 0: every embedding holds the same
    positive number there, no layer writes to it, and it is still positive after the final norm. A row of the
    output head with only a large negative number in that channel is therefore always the least likely. The
    engine still knows the end-of-text token, so `ignore_eos` and `stop` mean what they always do.
    """
    hidden_size = model.config.hidden_size
    embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
    # About as large as the other channels, so that the norms leave both visible.
    embedding.normal_(0.0, 1.0)
    embedding[:, 0] = 1.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0, :] = 0.0
        layer.mlp.down_proj.weight[0, :] = 0.0
    # A spread of about 2 between logits: at temperature 1 answers vary, at 0 no two candidates are so close that
    # rounding (another batch, another type) picks the winner.
    head.normal_(0.0, 2.0 / math.sqrt(hidden_size))
    head[:, 0] = 0.0
    head[mute_token_ids, :] = 0.0
    head[mute_token_ids, 0] = -1000.0


def _mute_token_ids(tokenizer: Any) -> list[int]:
    """Special tokens, and pieces which are not printable ASCII: half a character would hold the stream back."""
    mute = []
    for token_id in range(len(tokenizer)):
        text = tokenizer.decode([token_id])
        if token_id in tokenizer.all_special_ids or not (text.isascii() and (text.isprintable() or text == "\n")):
            mute.append(token_id)
    return mute


if __name__ == "__main__":
    sys.exit(main())
