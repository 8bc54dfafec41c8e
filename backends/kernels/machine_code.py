"""Machine code of functions of C: for which processor it is, and how it comes to run, by LLVM alone.

To load a function that was compiled before takes a millisecond here. Through Numba it takes a third of a second, for
Numba first reads what it knows of all of Python and NumPy, and importing it takes another sixth.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from typing import Any

import llvmlite  # type: ignore[import-untyped]  # it has no types
import llvmlite.binding as llvm  # type: ignore[import-untyped]  # it has no types

RELEASE = tuple(int(each) for each in llvmlite.__version__.split(".")[:2])
"""Of llvmlite."""
_LOCK = threading.RLock()
_LOADED: dict[str, int] = {}
_EVERYWHERE = frozenset(("memcpy", "memmove", "memset", "sqrt", "sqrtf"))
"""What code may call besides: of C's library, without which there is no Python."""


@functools.cache
def processor() -> tuple[str, str, str]:
    """For what code is made: the system, the processor and its features, or what Numba's own variables say instead."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if (name or "").lower() == "generic" else _features()
    return str(llvm.get_process_triple()), name or str(llvm.get_host_cpu_name()), features


def _features() -> str:
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this processor.
        return ""
    if os.environ.get("NUMBA_ENABLE_AVX") == "0":
        features.update({name: False for name in features if name.startswith("avx")})
    return str(features.flatten())


def _machine() -> Any:
    triple, name, features = processor()
    # As LLVM wants it for code that is loaded where it was made.
    relocation = "static" if triple.startswith(("x86", "i386", "i686")) else "default"
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=3, reloc=relocation, codemodel="jitdefault", jit=True
    )


def assembled(text: str, names: Sequence[str], optimise: bool = False) -> bytes:
    """The machine code of functions, with what they call; nothing else can be called or needs to be there.

    Args:
        text: a module in LLVM's language, in which the functions stand.
        names: of the functions.
        optimise: whether that is still to be done.

    Raises:
        RuntimeError: if LLVM cannot make it, or if it needs what only this process may have.
    """
    machine = _machine()
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = processor()[0], str(machine.target_data)
    for each in (*module.functions, *module.global_variables):
        if not each.is_declaration and each.name not in names:
            each.linkage = "internal"
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, options)
    chosen = passes.getModulePassManager() if optimise else llvm.create_new_module_pass_manager()
    chosen.add_global_dead_code_eliminate_pass()
    chosen.run(module, passes)
    needed = {each.name for each in (*module.functions, *module.global_variables) if each.is_declaration}
    missing = sorted(each for each in needed - _EVERYWHERE if not each.startswith("llvm."))
    if missing:
        raise RuntimeError(f"It needs {', '.join(missing)}")
    return bytes(machine.emit_object(module))


@functools.cache
def _engine() -> Any:
    # Never taken down: compiled functions are called for as long as the process runs.
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())


def loaded(code: bytes, *names: str) -> list[int]:
    """The addresses of functions.

    Args:
        code: from `assembled`.
        names: the functions', which no other functions have.
    """
    with _LOCK:
        if names[0] not in _LOADED:
            engine = _engine()
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            engine.finalize_object()
            _LOADED.update((name, int(engine.get_function_address(name))) for name in names)
        return [_LOADED[name] for name in names]
