"""docs/android.md: its C is compiled and run, and what it says of files and commands is so."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgesr.runtime.session import open_model
from helpers.small_net import SmallNet

_ROOT = Path(__file__).parents[1]
_GUIDE = (_ROOT / "docs" / "android.md").read_text()

# What LiteRT's headers declare; they are not part of its Python package.
_DECLARATIONS = """
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef enum { kLiteRtStatusOk = 0, kLiteRtStatusErrorCompilation = 504 } LiteRtStatus;
typedef int LiteRtHwAccelerators;
typedef void *LiteRtEnvironment, *LiteRtModel, *LiteRtOptions, *LiteRtCompiledModel;
typedef void *LiteRtTensorBuffer, *LiteRtSignature, *LiteRtTensor;
typedef void *LiteRtTensorBufferRequirements;
typedef size_t LiteRtParamIndex;
typedef enum { kLiteRtTensorBufferLockModeRead, kLiteRtTensorBufferLockModeWrite } LockMode;
typedef struct {
  int32_t element_type;
  struct {
    unsigned rank : 7; bool has_strides : 1; int32_t dimensions[8]; uint32_t strides[8];
  } layout;
} LiteRtRankedTensorType;
LiteRtStatus LiteRtCreateEnvironment(int, const void*, LiteRtEnvironment*);
LiteRtStatus LiteRtCreateModelFromFile(LiteRtEnvironment, const char*, LiteRtModel*);
LiteRtStatus LiteRtCreateOptions(LiteRtOptions*);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions,
                                       LiteRtCompiledModel*);
LiteRtStatus LiteRtCompiledModelIsFullyAccelerated(LiteRtCompiledModel, bool*);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel, LiteRtParamIndex, LiteRtSignature*);
LiteRtStatus LiteRtGetSignatureInputTensor(LiteRtSignature, const char*, LiteRtTensor*);
LiteRtStatus LiteRtGetSignatureOutputTensor(LiteRtSignature, const char*, LiteRtTensor*);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType*);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(
    LiteRtCompiledModel, LiteRtParamIndex, LiteRtParamIndex, LiteRtTensorBufferRequirements*);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(
    LiteRtCompiledModel, LiteRtParamIndex, LiteRtParamIndex, LiteRtTensorBufferRequirements*);
LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(
    LiteRtEnvironment, const LiteRtRankedTensorType*, LiteRtTensorBufferRequirements,
    LiteRtTensorBuffer*);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer, void**, LockMode);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel, LiteRtParamIndex, size_t,
                                    LiteRtTensorBuffer*, size_t, LiteRtTensorBuffer*);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);
void LiteRtDestroyOptions(LiteRtOptions);
void LiteRtDestroyModel(LiteRtModel);
void LiteRtDestroyEnvironment(LiteRtEnvironment);
"""

_MAIN = """
#include <stdio.h>
#include <stdlib.h>
int main(int count, char** words) {
  size_t lr_count = strtoul(words[4], NULL, 10), hr_count = 4 * lr_count;
  float *lr = malloc(lr_count * 4), *hr = malloc(hr_count * 4);
  FILE* file = fopen(words[2], "rb");
  if (fread(lr, 4, lr_count, file) != lr_count) return 2;
  SuperResolution sr;
  if (sr_open(&sr, words[1], 1) || sr_run(&sr, lr, lr_count, hr, hr_count)) return 3;
  sr_close(&sr);
  file = fopen(words[3], "wb");
  fwrite(hr, 4, hr_count, file);
  fclose(file);
  return count == 5 ? 0 : 4;
}
"""


def _snippet(language: str) -> str:
    return next(iter(re.findall(rf"```{language}\n(.*?)```", _GUIDE, re.DOTALL)))


@pytest.mark.slow
def test_the_c_of_the_guide_computes_what_edgesr_computes(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    import ai_edge_litert

    folder = Path(next(iter(ai_edge_litert.__path__)))
    model, source, program = tmp_path / "m.tflite", tmp_path / "m.c", tmp_path / "m"
    model.write_bytes(SmallNet().tflite(24, 16))
    lr_nhwc = np.random.default_rng(0).random((1, 24, 16, 3), np.float32)
    (tmp_path / "lr").write_bytes(lr_nhwc.tobytes())
    code = re.sub(r'#include "litert.*\n', "", _snippet("c"))
    source.write_text(_DECLARATIONS + code + _MAIN)
    library = folder / "libLiteRt.so"
    words = [compiler, "-Wall", "-Werror", source, "-o", program, library, f"-Wl,-rpath,{folder}"]
    built = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    words = [program, model, tmp_path / "lr", tmp_path / "hr", lr_nhwc.size]
    ran = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found = np.frombuffer((tmp_path / "hr").read_bytes(), np.float32)
    expected = open_model(model, threads=1).run(lr_nhwc)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-6)


def test_the_guide_names_what_files_say_of_themselves() -> None:
    """The shipped file has a card, which `make models` writes from the file itself."""
    card = (_ROOT / "tflite_models" / "imdn-rtc_x2_720x480_fp16.md").read_text()
    kotlin = re.findall(r"```kotlin\n(.*?)```", _GUIDE, re.DOTALL)[1]
    for name in ("serving_default", "lr", "hr"):
        assert f"`{name}`" in card
        assert f'"{name}"' in kotlin
    assert "1 x 720 x 480 x 3, RGB in [0, 1]" in card
    assert "height = 720" in kotlin
    assert "overlap by 22 px" in card
    assert "(22 for RTC" in _GUIDE


def test_every_option_that_the_guide_names_exists() -> None:
    from edgesr.cli.bench.android import command as android
    from edgesr.cli.bench.compare import command as compare
    from edgesr.cli.bench.report import command as report

    known = {o for c in (android, compare, report) for p in c.params for o in p.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", _GUIDE))
    elsewhere = {"--devices", "--size"}
    assert named - elsewhere <= known
