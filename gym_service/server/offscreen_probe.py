"""Draws with one renderer, in a separate process. Reports success, or ends with a traceback.

Knows how to create a context with MuJoCo, PyOpenGL and pyglet. Never knows why: ``offscreen.py`` sets the variables and
runs this text with ``python -c``. Standard library and those three packages, Python 3.6 and up.
"""

import importlib.util
import os
import sys

WORKS = b"gym-service: it works\n"
SIZE = 16  # pixels


def main(name):
    sys.path[:] = [entry for entry in sys.path if entry]  # not the working directory, which "-c" puts first
    if name == "headless":
        draw_with_pyglet()
    elif importlib.util.find_spec("mujoco"):
        draw_with_mujoco()
    elif name == "egl":
        draw_with_egl()
    else:
        draw_with_osmesa()
    os.write(1, WORKS)
    os._exit(0)  # some drivers crash when the process exits normally


def draw_with_mujoco():
    import mujoco

    context = mujoco.GLContext(SIZE, SIZE)
    context.make_current()
    # This looks for the OpenGL extensions that MuJoCo draws with.
    mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_50)


def draw_with_egl():
    from OpenGL import EGL

    display = EGL.eglGetDisplay(EGL.EGL_DEFAULT_DISPLAY)
    EGL.eglInitialize(display, EGL.EGLint(), EGL.EGLint())
    wanted = [EGL.EGL_SURFACE_TYPE, EGL.EGL_PBUFFER_BIT, EGL.EGL_RENDERABLE_TYPE, EGL.EGL_OPENGL_BIT, EGL.EGL_NONE]
    configs, count = (EGL.EGLConfig * 1)(), EGL.EGLint()
    EGL.eglChooseConfig(display, (EGL.EGLint * len(wanted))(*wanted), configs, 1, count)
    if not count.value:
        raise RuntimeError("EGL has no configuration for OpenGL")
    EGL.eglBindAPI(EGL.EGL_OPENGL_API)
    size = [EGL.EGL_WIDTH, SIZE, EGL.EGL_HEIGHT, SIZE, EGL.EGL_NONE]
    surface = EGL.eglCreatePbufferSurface(display, configs[0], (EGL.EGLint * len(size))(*size))
    context = EGL.eglCreateContext(display, configs[0], EGL.EGL_NO_CONTEXT, None)
    EGL.eglMakeCurrent(display, surface, surface, context)
    require_version()


def draw_with_osmesa():
    from OpenGL import GL, arrays, osmesa

    context = osmesa.OSMesaCreateContextExt(osmesa.OSMESA_RGBA, 24, 0, 0, None)
    pixels = arrays.GLubyteArray.zeros((SIZE, SIZE, 4))
    if not osmesa.OSMesaMakeCurrent(context, pixels, GL.GL_UNSIGNED_BYTE, SIZE, SIZE):
        raise RuntimeError("OSMesaMakeCurrent failed")
    require_version()


def require_version():
    from OpenGL import GL

    if not GL.glGetString(GL.GL_VERSION):
        raise RuntimeError("the context has no OpenGL")


def draw_with_pyglet():
    import pyglet

    if not pyglet.options["headless"]:
        raise RuntimeError("pyglet %s has no headless mode" % pyglet.version)
    import pyglet.window

    window = pyglet.window.Window(SIZE, SIZE)
    window.switch_to()
    window.clear()


if __name__ == "__main__":
    main(sys.argv[1])
