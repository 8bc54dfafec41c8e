"""A step is never stopped by what makes it fast: Numba, its compiler, the folder that compiled code is kept in.

What depends on how a process starts is tried in child processes, which report their results and their warnings.
"""

import ctypes
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import gradwise
from gradwise.backends import losses
from gradwise.backends.kernels import cache, safe_folders
from gradwise.backends.own_threads import in_own_thread

ROOT = Path(__file__).parents[2]
CHILD = """
import json, os, resource, signal, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {before}
    import numpy as np
    from gradwise.optimizers import SGD
    parameters = [np.full(3, 2.0), np.full({elements}, 0.5)]
    gradients = [np.full(3, 0.5), np.full({elements}, 0.25)]
    optimizer = SGD(0.1, momentum=0.9, global_clipnorm=1.0)
    for _ in range(3):
        optimizer.apply(gradients, parameters)
said = [str(w.message) for w in caught if w.category.__name__ == "PerformanceWarning"]
ways = [group.way for group in optimizer.execution_report()]
print(json.dumps([[p[0].hex() for p in parameters], ways, said, len(caught)]))
"""
AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user or give files to one"
)
OTHER = 54321
WITHOUT = {"GRADWISE_CACHE_DIR", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "GRADWISE_NUM_THREADS"}


def environment(**changes):
    kept = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    return {name: value for name, value in (kept | changes).items() if value is not None}


def start(before="pass", user=(), elements=20_000, **changes):
    # Not in the checkout, whose folders another user may not enter; and where nothing is found by accident.
    code = CHILD.format(before=before, elements=elements)
    return subprocess.Popen(
        [*user, sys.executable, "-c", code], env=environment(**changes), cwd="/",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    values, ways, said, count = json.loads(out)
    assert count == len(said), "a warning of another category"
    return values, ways, said


def files_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder with all that the child compiles, and its results."""
    folder = tmp_path_factory.mktemp("warm")
    values, ways, said = finish(start(GRADWISE_CACHE_DIR=str(folder)))
    assert ways == ["fused"] and said == []
    names = files_of(folder)
    assert len(names) == 5 and all(re.fullmatch(r"[0-9a-f]{40}\.code", name) for name in names)
    return folder, values


BROKEN = {
    "not there": (None, None),
    "an ImportError": ("raise ImportError('Numba needs NumPy 2.3 or less.')", "ImportError: Numba needs NumPy 2.3"),
    "another error": ("raise SystemError('initialization failed')", "SystemError: initialization failed"),
    "an old one, which lacks what is used": ("__version__ = '0.1'", "cannot be imported"),
}


@pytest.mark.fast
@pytest.mark.parametrize("kind", BROKEN)
def test_a_numba_that_cannot_be_imported(kind, warm, tmp_path):
    content, sentence = BROKEN[kind]
    folder, expected = warm
    if content is None:
        before = "sys.modules['numba'] = None"
    else:
        (tmp_path / "numba").mkdir()
        (tmp_path / "numba" / "__init__.py").write_text(content)
        before = f"sys.path.insert(0, {str(tmp_path)!r})"
    values, ways, said = finish(start(before, GRADWISE_CACHE_DIR=str(folder)))
    assert values == expected and ways == ["blocks"]
    assert len(said) == (sentence is not None)
    assert sentence is None or (sentence in said[0] and "install a Numba that fits" in said[0])


@pytest.mark.fast
def test_numba_switched_off(warm):
    folder, expected = warm
    values, ways, said = finish(start(GRADWISE_CACHE_DIR=str(folder), NUMBA_DISABLE_JIT="1"))
    assert values == expected and ways == ["blocks"]
    assert len(said) == 1 and "NUMBA_DISABLE_JIT" in said[0]


@pytest.mark.fast
def test_no_place_and_nothing_in_the_temporary_folder(warm, tmp_path):
    """HOME can be neither made nor written to (not even by root); Numba's own place is of no use either."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    values, ways, said = finish(start(HOME="/dev/null/home", NUMBA_CACHE_DIR="/dev/null/numba", TMPDIR=str(temporary)))
    assert values == warm[1] and ways == ["fused"]
    assert len(said) == 1 and "/dev/null" in said[0] and "set GRADWISE_CACHE_DIR" in said[0]
    assert not list(temporary.iterdir())


@pytest.mark.fast
def test_a_full_quota(warm, tmp_path):
    """Stood in for by a limit on the size of files."""
    pytest.importorskip("resource", reason="only Unix limits the size of files")
    before = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, -1))"
    values, ways, said = finish(start(before, GRADWISE_CACHE_DIR=str(tmp_path)))
    assert values == warm[1] and ways == ["fused"]
    assert len(said) == 1 and str(tmp_path) in said[0] and "room" in said[0]
    assert all(len(content) < 2000 and name.endswith(".code") for name, content in files_of(tmp_path).items())


def damaged(content, other):
    middle = len(content) // 2
    yield content[:100]
    yield b""
    yield content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    yield other
    yield content + b"x"
    yield os.urandom(len(content))


@pytest.mark.fast
def test_a_second_process_compiles_nothing_and_does_not_import_numba(warm):
    folder, expected = warm
    before = "sys.modules['numba.core'] = None"
    values, ways, said = finish(start(before, GRADWISE_CACHE_DIR=str(folder)))
    assert values == expected and ways == ["fused"] and said == []


@pytest.mark.fast
def test_what_cannot_be_kept_runs(warm, tmp_path):
    """As where another release of Numba writes something else: each process compiles again, and says so."""
    before = "from gradwise.backends.kernels import numba_compiler; numba_compiler.Compilation.code = None"
    values, ways, said = finish(start(before, GRADWISE_CACHE_DIR=str(tmp_path)))
    assert values == warm[1] and ways == ["fused"]
    assert len(said) == 1 and "cannot be kept (TypeError" in said[0]
    assert len(files_of(tmp_path)) == 2, "the loops of the rule and of the sum of squares are not written by Numba"


@pytest.mark.fast
def test_code_that_needs_what_another_process_may_not_have_is_not_kept():
    machine_code = pytest.importorskip("gradwise.backends.kernels.machine_code")
    text = "declare i64 @of_this_process(i64)\ndefine i64 @f(i64 %a) {{\n%b = call i64 @{}(i64 %a)\nret i64 %b\n}}"
    with pytest.raises(RuntimeError, match="It needs of_this_process"):
        machine_code.assembled(text.format("of_this_process"), ["f"])
    another = "define i64 @another(i64 %a) {\nret i64 7\n}\n" + text.format("another")
    (address,) = machine_code.loaded(machine_code.assembled(another, ["f"]), "f")
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(address)() == 7


@pytest.mark.fast
def test_damaged_files_are_replaced(warm, tmp_path):
    folder, expected = warm
    whole = files_of(folder)
    kernels = tmp_path / "kernels"
    kernels.mkdir(mode=0o700)
    for number, (name, content) in enumerate(sorted(whole.items())):
        other = whole[min(set(whole) - {name})]
        kinds = list(damaged(content, other))
        (kernels / name).write_bytes(kinds[number % len(kinds)])
        (kernels / name).chmod(0o600)
    values, ways, said = finish(start(GRADWISE_CACHE_DIR=str(tmp_path)))
    assert values == expected and ways == ["fused"] and said == []
    assert set(files_of(tmp_path)) == set(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADWISE_CACHE_DIR", str(tmp_path))
        assert all(cache.read(name) for name in whole)


def test_nothing_damaged_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADWISE_CACHE_DIR", str(tmp_path))
    cache.write("a", bytes(range(256)))
    cache.write("b", bytes(range(255)))
    whole, other = [(tmp_path / "kernels" / name).read_bytes() for name in "ab"]
    assert cache.read("a") == bytes(range(256))
    path = tmp_path / "kernels" / "a"
    for content in damaged(whole, other):
        path.write_bytes(content)
        assert cache.read("a") is None
    path.write_bytes(whole)
    assert cache.read("a") == bytes(range(256))
    path.chmod(0o622)
    assert cache.read("a") is None
    path.unlink()
    path.mkdir()
    assert cache.read("a") is None
    path.rmdir()
    path.symlink_to(tmp_path / "kernels" / "b")
    assert cache.read("a") is None
    assert sorted(os.listdir(tmp_path / "kernels")) == ["a", "b"]


@pytest.mark.fast
def test_another_processor_finds_nothing_and_spoils_nothing(warm, tmp_path):
    folder, expected = warm
    before = files_of(folder)
    shutil.copytree(folder, tmp_path / "copy")
    changes = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    values, ways, said = finish(start(GRADWISE_CACHE_DIR=str(tmp_path / "copy"), **changes))
    assert values == expected and ways == ["fused"] and said == []
    after = files_of(tmp_path / "copy")
    assert len(after) == 2 * len(before) and before.items() <= after.items()


@pytest.mark.fast
def test_another_release_has_another_name(monkeypatch):
    compiled = pytest.importorskip("gradwise.backends.kernels.compiled")
    names = {compiled._digest(("source", "void()")), compiled._digest(("another", "void()"))}
    names |= {compiled._digest(("source", "void(int64)"))}
    assert len(names) == 3 and compiled._digest(("source", "void()")) in names
    for what in ("_releases", "_sources", "processor"):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, what, lambda: ("another",))
            names |= {compiled._digest(("source", "void()"))}
    assert len(names) == 6


@pytest.mark.fast
def test_the_release_of_numba_is_known_without_importing_it():
    compiled = pytest.importorskip("gradwise.backends.kernels.compiled")
    code = "import sys; from gradwise.backends.kernels.compiled import _numbas_release"
    code += "; print(_numbas_release(), 'numba' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    import numba

    assert said == [numba.__version__, "False"] and compiled._numbas_release() == numba.__version__


@pytest.mark.fast
def test_all_that_is_compiled_is_kept_in_one_way():
    """Numba's own files are pickles, in folders that are not looked at."""
    for path in (ROOT / "backends").rglob("*.py"):
        assert not re.search(r"cache\s*=\s*True", path.read_text()), path


@pytest.mark.fast
def test_processes_at_once(tmp_path):
    processes = [start(elements=3, GRADWISE_CACHE_DIR=str(tmp_path / "new" / "base")) for _ in range(4)]
    results = list(map(finish, processes))
    assert all(result == results[0] for result in results) and results[0][1:] == (["fused"], [])
    assert len(files_of(tmp_path)) == 5 and all(name.endswith(".code") for name in files_of(tmp_path))
    assert stat.S_IMODE((tmp_path / "new" / "base" / "kernels").stat().st_mode) == 0o700 or os.name == "nt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADWISE_CACHE_DIR", str(tmp_path / "new" / "base"))
        assert all(cache.read(name) for name in files_of(tmp_path))


@pytest.mark.fast
@pytest.mark.torch
def test_the_torch_front_end_without_a_place():
    code = textwrap.dedent("""
        import torch, warnings
        from gradwise.frontends import torch as optim
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            p = torch.nn.Parameter(torch.ones(300_000)); p.grad = torch.ones(300_000)
            o = optim.Adam([p])
            for _ in range(3): o.step()
        assert [w.category.__name__ for w in caught] == ["PerformanceWarning"], [str(w.message) for w in caught]
        assert abs(float(p[0].detach()) - 0.997) < 1e-6
    """)
    subprocess.run([sys.executable, "-c", code], env=environment(HOME="/dev/null/home"), cwd="/", check=True)


# -------------------------------------------------------------------- what cannot be compiled


@pytest.fixture
def without_compiling(monkeypatch):
    """As if Numba or LLVM failed at all that is compiled from now on."""
    pytest.importorskip("numba")
    from gradwise.backends.kernels import compiled, kernel, lists
    from gradwise.warm_up import compiled_functions

    def fail(*_):
        raise RuntimeError("LLVM ERROR: out of registers")

    monkeypatch.setattr(compiled, "compile_function", fail)
    monkeypatch.setattr(kernel, "compile_kernel", fail)
    monkeypatch.setattr(kernel, "_KERNELS", {})
    for function in compiled_functions():
        # What was compiled before comes back at the end.
        monkeypatch.setitem(vars(function), "run", None)
        del vars(function)["run"]
    for trial in lists.TRIALS:
        trial.cache_clear()
    monkeypatch.setattr(losses, "_SAID", set())
    yield
    # Tests that come after this one try them out again.
    for trial in lists.TRIALS:
        trial.cache_clear()


def arrays_of(library, *values):
    if library == "numpy":
        return [value.copy() for value in values]
    torch = pytest.importorskip("torch")
    return [torch.tensor(value) for value in values]


@pytest.mark.fast
@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])
def test_what_cannot_be_compiled_runs_by_blocks(library, threads, without_compiling, monkeypatch):
    from gradwise.backends.kernels import table
    from gradwise.optimizers import SGD

    monkeypatch.setenv("GRADWISE_NUM_THREADS", threads)
    monkeypatch.setattr(table, "_THREADED_FROM", 1)
    generator = np.random.default_rng(0)
    start, *gradients = [[generator.normal(size=shape) for shape in ((), (7, 3), (40_000,), (0, 2))] for _ in range(5)]
    options = {"momentum": 0.9, "global_clipnorm": 1.0}
    one, two = arrays_of(library, *start), arrays_of(library, *start)
    fused, eager = SGD(0.1, jit_compile=True, **options), SGD(0.1, jit_compile=False, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for each in gradients:
            fused.apply(arrays_of(library, *each), one)
            eager.apply(arrays_of(library, *each), two)
    assert [np.asarray(array).tobytes() for array in one] == [np.asarray(array).tobytes() for array in two]
    assert [group.way for group in fused.execution_report()] == ["blocks"]
    assert [warning.category for warning in caught] == [gradwise.PerformanceWarning]
    assert "LLVM ERROR: out of registers" in str(caught[0].message) and caught[0].filename == __file__


@pytest.mark.fast
@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])
def test_where_warnings_are_errors_the_first_step_says_so_and_changes_nothing(library, without_compiling):
    from gradwise.optimizers import SGD

    optimizer, (parameter, gradient) = SGD(0.5), arrays_of(library, np.ones(3), np.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(gradwise.PerformanceWarning, match="out of registers"):
            optimizer.apply([gradient], [parameter])
        assert parameter.tolist() == [1.0] * 3 and int(optimizer.iterations) == 0
        for step in (1, 2):
            optimizer.apply([gradient], [parameter])
            assert parameter.tolist() == [1.0 - 0.5 * step] * 3


@pytest.mark.fast
def test_a_call_in_a_thread_of_its_own_is_as_if_it_were_the_callers(monkeypatch):
    import contextvars

    monkeypatch.setattr(losses, "_SAID", set())
    variable, outer = contextvars.ContextVar("variable"), threading.get_ident()
    variable.set("the caller's")

    def inner(word):
        assert threading.get_ident() != outer and np.geterr()["over"] == "call"
        losses.warn_once(word, word)
        return variable.get()

    def called(word):
        losses.warn_once("first", "first")
        return in_own_thread(inner)(word)

    with warnings.catch_warnings(record=True) as caught, np.errstate(over="call"):
        warnings.simplefilter("always")
        assert in_own_thread(called)("second") == "the caller's"
    assert [(str(each.message), each.filename) for each in caught] == [("first", __file__), ("second", __file__)]
    with warnings.catch_warnings(), pytest.raises(gradwise.PerformanceWarning, match="third"):
        warnings.simplefilter("error")
        in_own_thread(losses.warn_once)("third", "third")

    def failing():
        losses.warn_once("fourth", "fourth")
        return 1 / 0

    with warnings.catch_warnings(), pytest.raises(ZeroDivisionError):
        warnings.simplefilter("error")
        in_own_thread(failing)()


@pytest.mark.fast
def test_norms_inside_rules_without_compiling(without_compiling):
    """Rules whose passes read before they write."""
    from gradwise.backends import ops
    from gradwise.optimizers import Optimizer

    class Trust(Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            norm = ops.norm(gradient)
            self.assign_sub(variable, gradient * (learning_rate / (1 + norm)))

    start = np.random.default_rng(1).normal(size=50_000).astype(np.float32)
    one, two = [start.copy()], [start.copy()]
    with pytest.warns(gradwise.PerformanceWarning, match="out of registers"):
        Trust(0.1, jit_compile=True).apply([start], one)
    Trust(0.1, jit_compile=False).apply([start], two)
    assert one[0].tobytes() == two[0].tobytes() != start.tobytes()


# -------------------------------------------------------------------- threads


def test_a_number_of_threads_that_is_none(monkeypatch):
    from gradwise.backends.kernels.threads import thread_count

    monkeypatch.setattr(losses, "_SAID", set())
    monkeypatch.delenv("GRADWISE_NUM_THREADS", raising=False)
    expected = thread_count()
    monkeypatch.setenv("GRADWISE_NUM_THREADS", "many")
    with pytest.warns(gradwise.PerformanceWarning, match="GRADWISE_NUM_THREADS='many' is no whole number"):
        assert thread_count() == expected
    assert thread_count() == expected
    monkeypatch.setenv("GRADWISE_NUM_THREADS", "")
    assert thread_count() == expected


def test_no_more_threads_may_be_had(monkeypatch):
    from gradwise.backends.kernels import threads

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(losses, "_SAID", set())
    monkeypatch.setattr(threads, "_WORKERS", [])
    monkeypatch.setattr(threads._thread, "start_new_thread", refuse)
    done = []
    with pytest.warns(gradwise.PerformanceWarning, match="can't start new thread"):
        threads.together([lambda number=number: done.append(number) for number in range(4)])
    assert sorted(done) == [0, 1, 2, 3]


# -------------------------------------------------------------------- folders

PLACES = {
    "named": ({"GRADWISE_CACHE_DIR": "{0}/named"}, "named/kernels", 0),
    "named, below folders that are not there": ({"GRADWISE_CACHE_DIR": "{0}/a/b/c"}, "a/b/c/kernels", 0),
    "named, and relative": ({"GRADWISE_CACHE_DIR": "relative"}, "relative/kernels", 0),
    "named, and empty": ({"GRADWISE_CACHE_DIR": ""}, "home/.cache/gradwise/kernels", 0),
    "named, but a file": ({"GRADWISE_CACHE_DIR": "{0}/file"}, "home/.cache/gradwise/kernels", 1),
    "named, but no path": ({"GRADWISE_CACHE_DIR": "a" * 5000}, "home/.cache/gradwise/kernels", 1),
    "the user's cache folder": ({"XDG_CACHE_HOME": "{0}/xdg"}, "xdg/gradwise/kernels", 0),
    "an empty one": ({"XDG_CACHE_HOME": ""}, "home/.cache/gradwise/kernels", 0),
    "a relative one": ({"XDG_CACHE_HOME": "xdg"}, "home/.cache/gradwise/kernels", 0),
    "one that is a file": ({"XDG_CACHE_HOME": "{0}/file"}, "home/.cache/gradwise/kernels", 1),
    "a home that is a file": ({"HOME": "{0}/file"}, None, 1),
    "a relative home": ({"HOME": "home"}, None, 0),
}


@pytest.mark.parametrize("kind", PLACES)
def test_where_code_is_kept(kind, tmp_path, monkeypatch):
    changes, expected, refused = PLACES[kind]
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    for name in WITHOUT:
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "{0}/home"} | changes).items():
        monkeypatch.setenv(name, value.format(tmp_path))
    folders, reasons = cache._folders()
    assert folders == ([] if expected is None else [str(tmp_path / expected)])
    assert len(reasons) == refused
    assert all(stat.S_IMODE(os.stat(folder).st_mode) == 0o700 for folder in folders)


def test_no_home_and_no_name(monkeypatch, tmp_path):
    """As in a container whose user is only a number."""
    for name in {*WITHOUT, "HOME"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(losses, "_SAID", set())
    assert cache._folders() == ([], [])
    assert cache.read("name") is None
    with pytest.warns(gradwise.PerformanceWarning, match="there is no home folder"):
        cache.write("name", b"data")
    cache.write("name", b"data")


def test_the_working_folder_is_gone(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADWISE_CACHE_DIR", str(tmp_path / "named"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cache._folders()[0] == [str(tmp_path / "named" / "kernels")]


def prepared(base, kind):
    """A folder of one kind below `base`, which is safe."""
    folder = base / "one" / "two"
    folder.mkdir(mode=0o700, parents=True)
    one, two = base / "one", folder
    if kind == "others write to it":
        two.chmod(0o702)
    elif kind == "a group writes to it":
        os.chown(two, -1, 12345) if os.geteuid() == 0 else None
        two.chmod(0o720)
    elif kind == "others write above it":
        one.chmod(0o707)
    elif kind == "others write above it, in a sticky folder":
        one.chmod(0o1777)
    elif kind == "it is sticky itself":
        two.chmod(0o1777)
    elif kind == "through a link":
        (base / "link").symlink_to(one)
        return base / "link" / "two"
    elif kind == "through a link beside where others write":
        (base / "open").mkdir()
        (base / "open").chmod(0o777)
        (base / "open" / "link").symlink_to(one)
        return base / "open" / "link" / "two"
    elif kind == "through a link to where others write":
        (base / "link").symlink_to("one/../one/.")
        one.chmod(0o777)
        return base / "link" / "two"
    elif kind == "through a link that leads to itself":
        (base / "link").symlink_to("link")
        return base / "link"
    elif kind == "it is another user's":
        os.chown(two, OTHER, -1)
    elif kind == "one above it is another user's":
        os.chown(one, OTHER, -1)
    elif kind == "through another user's link":
        (base / "link").symlink_to(one)
        os.chown(base / "link", OTHER, -1, follow_symlinks=False)
        return base / "link" / "two"
    elif kind == "another user's in a sticky folder":
        one.chmod(0o1777)
        os.chown(two, OTHER, -1)
    return folder


SAFE = ["plain", "others write above it, in a sticky folder", "through a link"]
UNSAFE = [
    "others write to it", "a group writes to it", "others write above it", "it is sticky itself",
    "through a link beside where others write", "through a link to where others write",
    "through a link that leads to itself",
    *(pytest.param(kind, marks=AS_ROOT) for kind in (
        "it is another user's", "one above it is another user's", "through another user's link",
        "another user's in a sticky folder",
    )),
]  # fmt: skip
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of this kind are Unix's")


@POSIX
@pytest.mark.parametrize("kind", SAFE)
def test_a_safe_folder(kind, tmp_path):
    assert safe_folders.why_unsafe(str(prepared(tmp_path, kind))) is None


@POSIX
@pytest.mark.parametrize("kind", UNSAFE)
def test_an_unsafe_folder(kind, tmp_path):
    folder = prepared(tmp_path, kind)
    assert safe_folders.why_unsafe(str(folder)) is not None
    # Nothing is made below it either.
    assert safe_folders.why_unsafe(str(folder / "below")) is not None or kind == "it is sticky itself"
    assert not os.path.lexists(folder / "below") or kind == "it is sticky itself"


@POSIX
def test_the_group_of_one_user_is_that_user(tmp_path, monkeypatch):
    import grp
    import pwd
    from types import SimpleNamespace

    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o770)
    os.chown(folder, -1, os.getgid())
    other = SimpleNamespace(pw_name="you", pw_uid=os.geteuid() + 1, pw_gid=os.getgid())
    elsewhere = SimpleNamespace(pw_name="them", pw_uid=os.geteuid() + 2, pw_gid=os.getgid() + 1)
    me = SimpleNamespace(pw_name="me", pw_uid=os.geteuid(), pw_gid=os.getgid())
    monkeypatch.setattr(pwd, "getpwuid", lambda user: me)
    monkeypatch.setattr(pwd, "getpwall", lambda: [me])
    for name, members, safe in (("me", [], True), ("me", ["me"], True), ("staff", [], False), ("me", ["you"], False)):
        group = SimpleNamespace(gr_name=name, gr_mem=members)
        monkeypatch.setattr(grp, "getgrgid", lambda number, group=group: group)
        assert (safe_folders.why_unsafe(str(folder)) is None) == safe

    monkeypatch.setattr(grp, "getgrgid", lambda number: SimpleNamespace(gr_name="me", gr_mem=[]))
    assert safe_folders.why_unsafe(str(folder)) is None
    monkeypatch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"], raising=False)
    assert safe_folders.why_unsafe(str(folder)) is not None
    monkeypatch.setattr(os, "listxattr", lambda path: ["user.note"])
    assert safe_folders.why_unsafe(str(folder)) is None

    def unknown(*number):
        raise KeyError(number)

    for users in (lambda: [], lambda: [elsewhere], unknown, lambda: [me, other], lambda: [me, elsewhere, other]):
        monkeypatch.setattr(pwd, "getpwall", users)
        assert safe_folders.why_unsafe(str(folder)) is not None
    monkeypatch.setattr(pwd, "getpwall", lambda: [elsewhere, me])
    assert safe_folders.why_unsafe(str(folder)) is None
    monkeypatch.setattr(grp, "getgrgid", unknown)
    assert safe_folders.why_unsafe(str(folder)) is not None


@POSIX
@pytest.mark.fast
@AS_ROOT
def test_a_folder_that_another_user_may_write_to(warm, tmp_path):
    """It is refused with a sentence, and what that user has put there is not loaded."""
    planted = {name: b"planted" for name in files_of(warm[0])}
    home = tmp_path / "home"
    shared = tmp_path / "shared"
    (shared / "kernels").mkdir(parents=True)
    for name, content in planted.items():
        (shared / "kernels" / name).write_bytes(content)
        os.chown(shared / "kernels" / name, OTHER, OTHER)
    os.chown(shared / "kernels", OTHER, OTHER)
    shared.chmod(0o777)
    home.mkdir()
    values, ways, said = finish(start(GRADWISE_CACHE_DIR=str(shared), HOME=str(home)))
    assert values == warm[1] and ways == ["fused"]
    assert len(said) == 1 and f"others may write to {shared}" in said[0] and str(home) in said[0]
    assert files_of(shared) == planted and set(files_of(home)) == set(planted)


@POSIX
@pytest.mark.fast
@AS_ROOT
def test_a_user_who_is_only_a_number(warm, tmp_path):
    """In a sticky folder where `kernels` is root's; without any; with one that root has filled for all."""
    setpriv = "/usr/bin/setpriv"
    if not os.path.exists(setpriv):
        pytest.skip("setpriv, which starts a process as another user, is not installed")
    rights = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    user = (setpriv, f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", *rights)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "kernels").mkdir(mode=0o700)
    values, ways, said = finish(start(user=user, GRADWISE_CACHE_DIR=str(shared), HOME=None))
    assert values == warm[1] and ways == ["fused"] and said == []
    own = shared / f"kernels-{OTHER}"
    assert own.stat().st_uid == OTHER and set(files_of(own)) == set(files_of(warm[0]))
    shutil.rmtree(shared)
    values, ways, said = finish(start(user=user, elements=3, HOME=None))
    assert ways == ["fused"] and len(said) == 1 and "there is no home folder" in said[0]
    shutil.copytree(warm[0], tmp_path / "image")
    before = "sys.modules['numba.core'] = None"
    values, ways, said = finish(start(before, user=user, GRADWISE_CACHE_DIR=str(tmp_path / "image"), HOME=None))
    assert values == warm[1] and ways == ["fused"] and said == []
