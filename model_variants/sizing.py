"""CPU, memory and GPUs of one session, where the spec leaves them open."""

from __future__ import annotations

import msgspec

from model_variants.base import Site, Unsuitable
from model_variants.facts import ModelFacts
from model_variants.memory import Demand, Estimate, estimate, fewest, split_problem
from stoker.records import Gpu
from stoker.resources import WHOLE_GPU, format_size
from stoker.specs import ServiceSpec

_BASE_CPU, _CPU_PER_GPU = 1000, 4000
_BASE_MEMORY = 2 * 2**30


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """As the fields of Resolution: millicores, bytes, devices, hundredths of each."""

    cpu: int = 0
    memory: int = 0
    gpus: int = 0
    gpu_share: int = 0
    gpu_memory: int = 0
    gpu_share_of_memory: int = 0
    memory_terms: tuple[tuple[str, int], ...] = ()


def size(spec: ServiceSpec, facts: ModelFacts, site: Site, demand: Demand | None) -> Size:
    """`demand` None: a variant that needs no GPU by itself. Raises Unsuitable where the GPUs asked for cannot work."""
    wanted = _gpus(spec, facts, site, demand)
    cpu = spec.resources.cpu
    if cpu is None:
        cpu = _BASE_CPU + _CPU_PER_GPU * wanted.gpus * wanted.gpu_share // WHOLE_GPU
    memory = spec.resources.memory
    return msgspec.structs.replace(wanted, cpu=cpu, memory=_BASE_MEMORY + facts.weight_bytes if memory is None else memory)


def _gpus(spec: ServiceSpec, facts: ModelFacts, site: Site, demand: Demand | None) -> Size:
    """1. the spec says how many: those, and what the estimate or the spec says about their free memory
    2. the spec says only how much memory: a share of one GPU of that size
    3. nothing said: the fewest whose estimate fits, none for what needs none or runs on the CPU of a site without GPUs
    """
    gpu, memory = spec.resources.gpu, spec.resources.gpu_memory
    if gpu is not None:
        return _as_asked(gpu, memory, facts, demand)
    if memory is not None:
        terms = estimate(facts, demand, 1).terms if demand else ()
        return Size(gpus=1, gpu_share_of_memory=memory, gpu_memory=memory, memory_terms=terms)
    if demand is None:
        return Size()
    usable = allowed_gpus(spec, site)
    if not usable and demand.on_cpu:
        return Size()
    found = _fewest(usable, facts, demand)
    return Size(gpus=found.gpus, gpu_share=WHOLE_GPU, gpu_memory=found.bytes, memory_terms=found.terms)


def _as_asked(gpu: int, memory: int | None, facts: ModelFacts, demand: Demand | None) -> Size:
    if gpu == 0:
        if demand is not None and not demand.on_cpu:
            raise Unsuitable("no_fit", "this engine does not run without a GPU: leave `gpu` out, or choose a variant that runs on the CPU")
        return Size()
    gpus, share = (1, gpu) if gpu < WHOLE_GPU else (gpu // WHOLE_GPU, WHOLE_GPU)
    if demand is None:
        return Size(gpus=gpus, gpu_share=share, gpu_memory=memory or 0)
    if demand.gpus not in (None, gpus):
        raise Unsuitable("model_unsupported", f"the options ask for {demand.gpus} GPUs and `resources` for {gpus}: leave one of them out")
    problem = split_problem(facts, demand, gpus)
    if problem:
        raise Unsuitable("model_unsupported", problem)
    found = estimate(facts, demand, gpus)
    return Size(gpus=gpus, gpu_share=share, gpu_memory=found.bytes if memory is None else memory, memory_terms=found.terms)


def allowed_gpus(spec: ServiceSpec, site: Site) -> list[Gpu]:
    """Those that the spec's gpu_model and gpu_vendor allow."""
    models, vendor = [model.lower() for model in spec.resources.gpu_model], spec.resources.gpu_vendor
    return [
        gpu
        for gpu in site.gpus
        if (not models or any(model in gpu.model.lower() for model in models)) and vendor in (None, gpu.vendor, gpu.vendor.lower())
    ]


def _fewest(gpus: list[Gpu], facts: ModelFacts, demand: Demand) -> Estimate:
    if not gpus:
        raise Unsuitable("no_fit", "this engine needs a GPU, and no node offers one that the spec allows")
    found = [fewest(facts, demand, gpu.memory, sum(1 for other in gpus if other.memory >= gpu.memory)) for gpu in gpus]
    fits = [one for one in found if one]
    if fits:
        return min(fits, key=lambda one: one.gpus)
    largest = max(gpu.memory for gpu in gpus)
    need, change = estimate(facts, demand, 1).sentence(), _nearest(facts, demand, largest, len(gpus))
    raise Unsuitable("no_fit", f"it needs on one GPU {need}; the largest has {format_size(largest)}{change}")


def _nearest(facts: ModelFacts, demand: Demand, memory: int, count: int) -> str:
    """The nearest change that would fit: fewer tokens of context on as many GPUs as there are."""
    context = demand.context or facts.context_length or 0
    while context > 1024:
        context //= 2
        if fewest(facts, msgspec.structs.replace(demand, context=context), memory, count):
            return f"; a context of {context} tokens would fit (the variant's option for the length of context)"
    return ""
