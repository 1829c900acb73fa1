"""Child process that runs onnx2tf.

`python -m converters.tflite._onnx2tf_child IN.onnx OUT_DIR`.

It imports onnx2tf, waits for a line on standard input, and converts.

Importing onnx2tf silences all warnings, reseeds the global random generators and raises the
recursion limit, and its errors end in sys.exit; none of this affects the parent. The working
directory must be a scratch folder, where onnx2tf finds the sample array that it would download.
"""

import os
import random
import sys
from pathlib import Path

import numpy as np

_SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"


def main() -> None:
    """Convert `sys.argv[1]` into float32 and float16 `.tflite` files in `sys.argv[2]`."""
    source, out_dir = sys.argv[1], sys.argv[2]
    # Only its existence matters: the checks that read it are switched off here.
    np.save(Path.cwd() / _SAMPLE, np.zeros((20, 128, 128, 3), np.float32))
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import onnx2tf

    # The parent sends a line when the graph is written; end of file means that it has ended.
    if not sys.stdin.readline():
        sys.exit("the parent process sent no graph")
    random.seed(0)
    onnx2tf.convert(  # pyright: ignore[reportPrivateImportUsage]
        input_onnx_file_path=source,
        output_folder_path=out_dir,
        copy_onnx_input_output_names_to_tflite=True,
        not_use_onnxsim=True,
        verbosity="error",
    )


if __name__ == "__main__":
    main()
