"""What peers do of a line of the bench: python peer.py JOB f32|bf16|FILE [work].

Prints JSON: the peer's name and its rate, in the unit of our line; or what is absent.  work: by processor time.
An optional script: `./rllava bench --peers PYTHON` runs it after each line that has a peer."""
import json
import os
import statistics
import sys
import tempfile
import time

clock = time.process_time if sys.argv[3:] == ["work"] else time.perf_counter
SMOLLM2 = dict(hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_hidden_layers=30,
               num_key_value_heads=3, vocab_size=49152, rms_norm_eps=1e-5, tie_word_embeddings=True)
TINY = dict(hidden_size=128, intermediate_size=384, num_attention_heads=4, num_hidden_layers=4,
            num_key_value_heads=2, vocab_size=1024, rms_norm_eps=1e-5, tie_word_embeddings=True)


def seconds(body, runs=3):
    """The median of some runs behind one that warms up."""
    times = []
    for _ in range(runs + 1):
        start = clock()
        body()
        times.append(clock() - start)
    return statistics.median(times[1:])


def llama(config, dtype):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(1)
    return LlamaForCausalLM(LlamaConfig(**config)).to(torch.bfloat16 if dtype == "bf16" else torch.float32)


def training(dtype):
    import torch
    model = llama(SMOLLM2, dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    ids = torch.randint(0, 1000, (8, 256))

    def step():
        for part in ids.split(1):                       # as our micro-batches
            (model(input_ids=part, labels=part).loss / 8).backward()
        optimizer.step()
        optimizer.zero_grad()
    return "torch " + torch.__version__, ids.numel() / seconds(step, 2)


def generate(dtype):
    import torch
    import transformers
    model = llama(SMOLLM2, dtype)
    ids = torch.randint(0, 1000, (64, 128))
    run = lambda: model.generate(ids, do_sample=True, max_new_tokens=128, min_new_tokens=128, pad_token_id=0, top_k=0)
    return "transformers " + transformers.__version__ + " generate", 64 * 128 / seconds(run, 1)


def grpo(config, dtype, steps):
    import torch
    import trl
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(config["vocab_size"])}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w1")
    rows = Dataset.from_list([{"prompt": " ".join(f"w{2 + (i * k) % 900}" for k in range(46))} for i in range(64)])
    times = []

    def reward(completions, **_):
        times.append(clock())
        return [float(len(text) % 7) for text in completions]
    args = trl.GRPOConfig(output_dir=tempfile.mkdtemp(), per_device_train_batch_size=32, num_generations=8,
                          max_completion_length=64, max_steps=steps, use_cpu=True, report_to=[], logging_steps=1000,
                          save_strategy="no", bf16=dtype == "bf16", gradient_checkpointing=False, disable_tqdm=True)
    trl.GRPOTrainer(llama(config, dtype), reward, args=args, train_dataset=rows, processing_class=tokenizer).train()
    laps = [b - a for a, b in zip(times, times[1:])]
    return "TRL " + trl.__version__ + ", torch " + torch.__version__, 1 / statistics.median(laps)


def vision(_):
    import torch
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel
    tower = Qwen2_5_VisionTransformerPretrainedModel(Qwen2_5_VLVisionConfig(
        depth=12, hidden_size=384, intermediate_size=1152, num_heads=6, out_hidden_size=512,
        fullatt_block_indexes=[2, 5, 8, 11]))
    pixels, grid = torch.randn(4 * 256, 1176), torch.tensor([[1, 16, 16]] * 4)
    with torch.no_grad():
        return "torch " + torch.__version__, 4 / seconds(lambda: tower(pixels, grid_thw=grid))


def pictures(path):
    import torch
    import torchvision
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    processor = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=28 * 28 * 1280)
    data = torch.frombuffer(bytearray(open(path, "rb").read()), dtype=torch.uint8)

    def run():
        whole = [torchvision.io.decode_jpeg(data, mode=torchvision.io.ImageReadMode.RGB) for _ in range(4)]
        processor(images=whole, return_tensors="pt")
    return "torchvision " + torchvision.__version__, 4 / seconds(run)


def tokenizer(path):
    os.environ["RAYON_NUM_THREADS"] = "1"
    import tokenizers
    text = open(path, encoding="utf-8").read()
    own = tokenizers.Tokenizer.from_file("tests/golden/tokenizers/qwen_small/tokenizer.json")
    return "tokenizers " + tokenizers.__version__, len(text.encode()) / 1e6 / seconds(lambda: own.encode(text))


JOBS = {"training": training, "generate": generate, "vision": vision, "pictures": pictures, "tokenizer": tokenizer,
        "grpo": lambda dtype: grpo(SMOLLM2, dtype, 3), "grpo_tiny": lambda dtype: grpo(TINY, dtype, 8)}

if __name__ == "__main__":
    told = os.dup(1)
    os.dup2(2, 1)                                       # what libraries print is no answer
    try:
        name, rate = JOBS[sys.argv[1]](sys.argv[2])
        answer = {"name": name, "rate": rate}
    except ImportError as why:
        answer = {"absent": str(why)}
    os.write(told, json.dumps(answer).encode())
