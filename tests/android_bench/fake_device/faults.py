"""What can be wrong with a device, each by name."""

import enum


class Fault(enum.StrEnum):
    """One way in which a device misbehaves; a device may have several."""

    #: USB debugging was not allowed on the device's screen: `unauthorized` in `adb devices`.
    UNAUTHORIZED = enum.auto()
    #: The device was there and fell silent: `offline` in `adb devices`.
    OFFLINE = enum.auto()
    #: Its features lack shell_v2, as before Android 7: the exit status of every command is 0.
    NO_SHELL_V2 = enum.auto()

    #: The connection breaks between warm-up and measurement; adb finds the device again.
    DROP_MID_RUN = enum.auto()
    #: The same while a file is pushed.
    DROP_MID_PUSH = enum.auto()
    #: The shell's stream is closed in the middle of the run, without an exit status.
    CLOSED_MID_RUN = enum.auto()
    #: The device reboots in the middle of the run: new boot id, every process gone.
    REBOOT_MID_RUN = enum.auto()
    #: benchmark_model never comes back, and takes no notice of SIGHUP.
    HUNG_RUN = enum.auto()
    #: From the middle of the run on the device's adbd answers nothing, and stays connected.
    HUNG_ADBD = enum.auto()

    #: df says that almost no space is left, and a push fails accordingly.
    NO_SPACE = enum.auto()
    #: df says that there is space, and a push fails all the same (a quota).
    NO_SPACE_UNSEEN = enum.auto()
    #: /data cannot be written.
    READ_ONLY = enum.auto()
    #: What arrives is not what was pushed: one byte differs.
    CORRUPT_PUSH = enum.auto()

    #: A 32-bit ARM system: a 64-bit benchmark_model does not run.
    WRONG_ABI = enum.auto()
    #: Every run heats the device up, until it slows down; it does not cool.
    THROTTLING = enum.auto()
    #: Android 9: dumpsys knows no thermalservice.
    NO_THERMAL_SERVICE = enum.auto()

    #: Part of the operators stays on the CPU.
    PARTIAL_DELEGATION = enum.auto()
    #: The GPU delegate is asked for, nothing runs on it, and the exit status is 0.
    SILENT_FALLBACK = enum.auto()
    #: There is no OpenCL library for the app: with --gpu_backend=cl the delegate fails.
    NO_OPENCL = enum.auto()
    #: The binary does not know some flags, warns, and goes on without them.
    UNKNOWN_FLAG = enum.auto()
    #: benchmark_model ends with status 0 and prints no result.
    NO_RESULT = enum.auto()
    #: It aborts in the middle of the run: 134.
    ABORT = enum.auto()
    #: It crashes, as GPU drivers do: 139.
    SEGFAULT = enum.auto()
    #: The system kills it for want of memory: 137.
    OUT_OF_MEMORY = enum.auto()
