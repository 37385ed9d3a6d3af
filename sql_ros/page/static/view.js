// Draw the arm and its scene by WebGL 2. Lengths in metres, z up, the base frame is the world frame.

const FOV = (38 * Math.PI) / 180;
const TRACE_POINTS = 400;
const GOAL_RADIUS = 0.022;
const GRAB_PX = 26;
const COLOURS = {
  workspace: [0.2, 0.62, 0.62, 0.7],
  keep_out: [0.88, 0.25, 0.28, 1],
  targets: [0.2, 0.62, 0.38, 0.55],
};

const SOLID = [
  `#version 300 es
  in vec3 position; in vec3 normal; in vec4 colour;
  uniform mat4 camera, model; uniform vec4 tint;
  out vec3 n, at; out vec4 c;
  void main() {
    vec4 world = model * vec4(position, 1.0);
    n = mat3(model) * normal; at = world.xyz; c = colour * tint;
    gl_Position = camera * world;
  }`,
  `#version 300 es
  precision highp float;
  in vec3 n, at; in vec4 c; uniform vec3 eye; out vec4 pixel;
  void main() {
    vec3 normal = normalize(n), view = normalize(eye - at);
    if (!gl_FrontFacing) normal = -normal;
    vec3 key = normalize(vec3(0.35, 0.75, 1.1)), fill = normalize(vec3(0.8, -0.7, 0.35));
    float light = 0.42 + 0.14 * normal.z + 0.52 * max(dot(normal, key), 0.0) + 0.22 * max(dot(normal, fill), 0.0);
    float shine = 0.22 * pow(max(dot(normal, normalize(key + view)), 0.0), 40.0);
    float rim = 0.10 * pow(1.0 - max(dot(normal, view), 0.0), 3.0);
    pixel = vec4(c.rgb * light + shine + rim, c.a);
  }`,
];
const FLAT = [
  `#version 300 es
  in vec3 position; in vec4 colour;
  uniform mat4 camera; out vec4 c;
  void main() { c = colour; gl_Position = camera * vec4(position, 1.0); }`,
  `#version 300 es
  precision highp float;
  in vec4 c; out vec4 pixel;
  void main() { pixel = c; }`,
];
const FLOOR = [
  `#version 300 es
  in vec2 corner; uniform mat4 camera; uniform float height, reach; uniform vec2 centre; out vec2 at;
  void main() { at = centre + corner * reach; gl_Position = camera * vec4(at, height, 1.0); }`,
  `#version 300 es
  precision highp float;
  in vec2 at; uniform vec2 centre; uniform float reach; out vec4 pixel;
  float grid(float step) {
    vec2 cell = abs(fract(at / step - 0.5) - 0.5) / (fwidth(at) / step);
    return 1.0 - min(min(cell.x, cell.y), 1.0);
  }
  void main() {
    float fade = 1.0 - smoothstep(0.25, 1.0, length(at - centre) / reach);
    vec3 base = mix(vec3(0.70, 0.74, 0.79), vec3(0.56, 0.61, 0.67), max(0.35 * grid(0.25), 0.8 * grid(1.0)));
    pixel = vec4(base, fade);
  }`,
];

// --- vectors and matrices, column by column ---

const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const add = (a, b, k = 1) => [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => a.map((x) => x / Math.hypot(...a));

function product(a, b) {
  const out = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      for (let k = 0; k < 4; k++) out[4 * column + row] += a[4 * k + row] * b[4 * column + k];
    }
  }
  return out;
}

function pose(p, q, scale = 1) {
  const [w, x, y, z] = q;
  return new Float32Array([
    scale * (1 - 2 * (y * y + z * z)), scale * 2 * (x * y + w * z), scale * 2 * (x * z - w * y), 0,
    scale * 2 * (x * y - w * z), scale * (1 - 2 * (x * x + z * z)), scale * 2 * (y * z + w * x), 0,
    scale * 2 * (x * z + w * y), scale * 2 * (y * z - w * x), scale * (1 - 2 * (x * x + y * y)), 0,
    p[0], p[1], p[2], 1,
  ]);
}

function sphere() {
  const points = [];
  const rings = 14, slices = 24;
  const at = (i, j) => {
    const a = Math.PI * (i / rings - 0.5), b = (2 * Math.PI * j) / slices;
    return [Math.cos(a) * Math.cos(b), Math.cos(a) * Math.sin(b), Math.sin(a)];
  };
  for (let i = 0; i < rings; i++) {
    for (let j = 0; j < slices; j++) {
      points.push(at(i, j), at(i, j + 1), at(i + 1, j + 1), at(i, j), at(i + 1, j + 1), at(i + 1, j));
    }
  }
  return points;
}

const EDGES = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]];
const FACES = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]];
const corners = (lower, upper) =>
  [...Array(8).keys()].map((i) => [i & 4 ? upper[0] : lower[0], i & 2 ? upper[1] : lower[1], i & 1 ? upper[2] : lower[2]]);

export class View {
  // `onGoal(position)` is called when a goal was dragged; `mayDrag()` says whether it can be.
  constructor(canvas, onGoal, mayDrag) {
    this.canvas = canvas;
    this.onGoal = onGoal;
    this.mayDrag = mayDrag;
    this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("this browser has no WebGL 2");
    this.azimuth = -0.62;
    this.elevation = 0.35;
    this.distance = 2.6;
    this.target = [0.3, 0, 0];
    this.trace = [];
    this.goal = null;
    this.dragged = null;
    this.header = null;
    this.rested = 0;
    this.bodies = [];
    this.solid = this.program(...SOLID);
    this.flat = this.program(...FLAT);
    this.floor = this.program(...FLOOR);
    this.makeBuffers();
    this.listen();
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  program(vertex, fragment) {
    const gl = this.gl;
    const made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    }
    ["position", "normal", "colour"].forEach((name, i) => gl.bindAttribLocation(made, i, name));
    gl.bindAttribLocation(made, 0, "corner");
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    const uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
      const name = gl.getActiveUniform(made, i).name;
      uniforms[name] = gl.getUniformLocation(made, name);
    }
    return { made, ...uniforms };
  }

  makeBuffers() {
    const gl = this.gl;
    this.quad = this.vertexArray(new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), () => {
      gl.enableVertexAttribArray(0);
      gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 8, 0);
    });
    const ball = sphere();
    this.ballCount = ball.length;
    this.ball = this.vertexArray(new Float32Array(ball.flat()), () => {
      gl.enableVertexAttribArray(0);
      gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 12, 0);
      gl.enableVertexAttribArray(1);
      gl.vertexAttribPointer(1, 3, gl.FLOAT, false, 12, 0);
    });
    this.lines = this.vertexArray(new Float32Array(0), () => {
      gl.enableVertexAttribArray(0);
      gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 28, 0);
      gl.enableVertexAttribArray(2);
      gl.vertexAttribPointer(2, 4, gl.FLOAT, false, 28, 12);
    });
  }

  vertexArray(data, layout) {
    const gl = this.gl;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    layout();
    gl.bindVertexArray(null);
    return { array, buffer };
  }

  // Take the scene as `ArmScene.package` writes it.
  setScene(bytes) {
    const length = new DataView(bytes).getUint32(0, true);
    this.header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
    const stride = this.header.stride;
    const gl = this.gl;
    this.scene = this.vertexArray(new Uint8Array(bytes, 4 + length), () => {
      gl.enableVertexAttribArray(0);
      gl.vertexAttribPointer(0, 3, gl.FLOAT, false, stride, 0);
      gl.enableVertexAttribArray(1);
      gl.vertexAttribPointer(1, 3, gl.BYTE, true, stride, 12);
      gl.enableVertexAttribArray(2);
      gl.vertexAttribPointer(2, 4, gl.UNSIGNED_BYTE, true, stride, 16);
    });
    this.target = [...this.header.centre];
    this.distance = 1.8 * this.header.extent;
    this.redraw();
  }

  setPose(bodies, tool, goal) {
    this.bodies = bodies;
    const last = this.trace[this.trace.length - 1];
    if (!last || Math.hypot(...sub(last, tool)) > 5e-4) this.trace.push(tool);
    if (this.trace.length > TRACE_POINTS) this.trace.shift();
    this.goal = goal;
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    // a slow renderer gets a third of the time, so that clicks and frames are not delayed
    const pause = Math.max(0, this.rested - performance.now());
    setTimeout(() => requestAnimationFrame(() => {
      const began = performance.now();
      this.waiting = false;
      this.draw();
      this.gl.readPixels(0, 0, 1, 1, this.gl.RGBA, this.gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits
      this.rested = began + 3 * (performance.now() - began);
    }), pause);
  }

  // --- camera ---

  eye() {
    const c = Math.cos(this.elevation);
    const away = [c * Math.cos(this.azimuth), c * Math.sin(this.azimuth), Math.sin(this.elevation)];
    return add(this.target, away, this.distance);
  }

  axes() {
    const back = unit(sub(this.eye(), this.target));
    const right = unit(cross([0, 0, 1], back));
    return { right, up: cross(back, right), back };
  }

  camera() {
    const { right, up, back } = this.axes();
    const eye = this.eye();
    const look = new Float32Array([
      right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
      -dot(right, eye), -dot(up, eye), -dot(back, eye), 1,
    ]);
    const f = 1 / Math.tan(FOV / 2), near = 0.02, far = 40;
    const aspect = this.canvas.width / this.canvas.height;
    const lens = new Float32Array([
      f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0,
    ]);
    return product(lens, look);
  }

  // Return the position of a point on the canvas, in CSS pixels.
  project(point) {
    const m = this.camera();
    const [x, y, w] = [0, 1, 3].map((row) => m[row] * point[0] + m[4 + row] * point[1] + m[8 + row] * point[2] + m[12 + row]);
    return [((x / w + 1) / 2) * this.canvas.clientWidth, ((1 - y / w) / 2) * this.canvas.clientHeight];
  }

  // Return the size of a CSS pixel at the depth of a point [m].
  pixel(point) {
    const depth = -dot(sub(point, this.eye()), this.axes().back);
    return (2 * depth * Math.tan(FOV / 2)) / this.canvas.clientHeight;
  }

  // --- mouse ---

  isOverGoal(event) {
    if (!this.goal || !this.mayDrag()) return false;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = this.project(this.goal);
    return Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y) < GRAB_PX;
  }

  listen() {
    const canvas = this.canvas;
    let grip = null;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const moves = event.button === 2 || event.shiftKey;
      grip = !moves && this.isOverGoal(event) ? "goal" : moves ? "move" : "turn";
      if (grip === "goal") this.dragged = [...this.goal];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!grip) canvas.classList.toggle("over-goal", this.isOverGoal(event));
      const { right, up } = this.axes();
      if (grip === "turn") {
        this.azimuth -= event.movementX * 0.007;
        this.elevation = Math.min(1.5, Math.max(-0.4, this.elevation + event.movementY * 0.007));
      } else if (grip === "move") {
        const k = this.pixel(this.target);
        this.target = add(add(this.target, right, -k * event.movementX), up, k * event.movementY);
      } else if (grip === "goal") {
        const k = this.pixel(this.dragged);
        this.dragged = this.inside(add(add(this.dragged, right, k * event.movementX), up, -k * event.movementY));
      }
      if (grip) this.redraw();
    });
    const end = () => {
      if (grip === "goal" && this.mayDrag()) this.onGoal(this.dragged);
      grip = null;
      this.dragged = null;
      this.redraw();
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", () => {
      grip = null;
      this.dragged = null;
    });
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.distance = Math.min(12, Math.max(0.3, this.distance * Math.exp(event.deltaY * 0.001)));
        this.redraw();
      },
      { passive: false },
    );
  }

  // Return a point moved into the box of the goals that the policy was trained for.
  inside(point) {
    const box = this.header.boxes.find((each) => each.kind === "targets");
    return point.map((x, i) => Math.min(box.upper[i], Math.max(box.lower[i], x)));
  }

  // --- drawing ---

  draw() {
    const gl = this.gl;
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight].map((x) => Math.max(1, Math.round(scale * x)));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0.86, 0.89, 0.92, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.header || !this.bodies.length) return;
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    const camera = this.camera();
    this.drawFloors(camera);
    this.drawBodies(camera);
    this.drawLines(camera);
    this.drawGoal(camera);
  }

  drawFloors(camera) {
    const gl = this.gl;
    gl.useProgram(this.floor.made);
    gl.uniformMatrix4fv(this.floor.camera, false, camera);
    gl.uniform2f(this.floor.centre, this.header.centre[0], this.header.centre[1]);
    gl.uniform1f(this.floor.reach, 4 * this.header.extent);
    gl.bindVertexArray(this.quad.array);
    for (const height of this.header.floors) {
      gl.uniform1f(this.floor.height, height);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
  }

  useSolid(camera) {
    const gl = this.gl;
    gl.useProgram(this.solid.made);
    gl.uniformMatrix4fv(this.solid.camera, false, camera);
    gl.uniform3fv(this.solid.eye, this.eye());
  }

  drawBodies(camera) {
    const gl = this.gl;
    this.useSolid(camera);
    gl.uniform4f(this.solid.tint, 1, 1, 1, 1);
    gl.bindVertexArray(this.scene.array);
    for (const { body, first, count } of this.header.meshes) {
      const at = this.bodies.slice(7 * body, 7 * body + 7);
      gl.uniformMatrix4fv(this.solid.model, false, pose(at.slice(0, 3), at.slice(3)));
      gl.drawArrays(gl.TRIANGLES, first, count);
    }
  }

  drawLines(camera) {
    const gl = this.gl;
    const lines = [], faces = [];
    const put = (list, point, colour) => list.push(...point, ...colour);
    for (const { kind, lower, upper } of this.header.boxes) {
      const at = corners(lower, upper);
      for (const [a, b] of EDGES) {
        put(lines, at[a], COLOURS[kind]);
        put(lines, at[b], COLOURS[kind]);
      }
      if (kind === "keep_out") {
        for (const [a, b, c, d] of FACES) for (const i of [a, b, c, a, c, d]) put(faces, at[i], [0.9, 0.25, 0.28, 0.16]);
      }
    }
    for (let i = 1; i < this.trace.length; i++) {
      const colour = [0.15, 0.46, 0.94, (0.9 * i) / this.trace.length];
      put(lines, this.trace[i - 1], colour);
      put(lines, this.trace[i], colour);
    }
    for (let axis = 0; axis < 3; axis++) {
      const colour = [0.75, 0.75, 0.75, 0.9];
      colour[axis] = 0.95 - 0.05 * axis;
      for (const other of [0, 1, 2]) if (other !== axis) colour[other] = 0.25;
      put(lines, [0, 0, 0], colour);
      put(lines, [0, 1, 2].map((i) => (i === axis ? 0.15 : 0)), colour);
    }
    gl.useProgram(this.flat.made);
    gl.uniformMatrix4fv(this.flat.camera, false, camera);
    gl.bindVertexArray(this.lines.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lines.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([...lines, ...faces]), gl.DYNAMIC_DRAW);
    gl.drawArrays(gl.LINES, 0, lines.length / 7);
    gl.depthMask(false);
    gl.drawArrays(gl.TRIANGLES, lines.length / 7, faces.length / 7);
    gl.depthMask(true);
  }

  drawGoal(camera) {
    const gl = this.gl;
    this.useSolid(camera);
    gl.bindVertexArray(this.ball.array);
    gl.vertexAttrib4f(2, 1, 1, 1, 1);
    const put = (point, radius, ...colour) => {
      gl.uniform4f(this.solid.tint, ...colour);
      gl.uniformMatrix4fv(this.solid.model, false, pose(point, [1, 0, 0, 0], radius));
      gl.drawArrays(gl.TRIANGLES, 0, this.ballCount);
    };
    const last = this.trace[this.trace.length - 1];
    if (last) put(last, 0.4 * GOAL_RADIUS, 0.15, 0.46, 0.94, 1);
    gl.enable(gl.CULL_FACE);
    if (this.goal) {
      put(this.goal, GOAL_RADIUS, 0.1, 0.72, 0.34, 0.95);
      gl.disable(gl.DEPTH_TEST); // a goal behind the hand is still seen
      put(this.goal, 2.2 * GOAL_RADIUS, 0.1, 0.72, 0.34, 0.22);
    }
    if (this.dragged) put(this.dragged, 1.3 * GOAL_RADIUS, 0.95, 0.55, 0.1, 0.8);
    gl.disable(gl.CULL_FACE);
    gl.enable(gl.DEPTH_TEST);
  }
}
