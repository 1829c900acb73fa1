"""An Android device over adb: list, info, workspace, cool-down."""
