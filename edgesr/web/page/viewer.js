// The before/after slider: drag or keys move the border, two fingers or the buttons zoom.
const element = (id) => document.getElementById(id);

const view = {zoom: 1, x: 0, y: 0};
const pointers = new Map();

export function show(before, after, height, width) {
  for (const [id, rgba] of [["before", before], ["after", after]]) {
    const canvas = element(id);
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  }
  const viewer = element("viewer");
  viewer.style.aspectRatio = `${width} / ${height}`;
  viewer.style.maxWidth = `calc(75vh * ${width} / ${height})`;
  element("comparison").hidden = false;
  zoomTo(1);
}

function draw() {
  const viewer = element("viewer");
  const share = Number(element("slider").value) / 100;
  const border = share * viewer.clientWidth;
  for (const id of ["before", "after"]) {
    element(id).style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
  }
  // The clip moves with the canvas: the border is given in the canvas's own pixels.
  const within = Math.max(0, (border - view.x) / view.zoom);
  element("after").style.clipPath = `inset(0 0 0 ${within}px)`;
  element("line").style.left = `${border - 1}px`;
}

function zoomTo(zoom, centreX, centreY) {
  const viewer = element("viewer");
  const x = centreX ?? viewer.clientWidth / 2;
  const y = centreY ?? viewer.clientHeight / 2;
  const next = Math.min(16, Math.max(1, zoom));
  view.x = x - (x - view.x) * next / view.zoom;
  view.y = y - (y - view.y) * next / view.zoom;
  view.zoom = next;
  keepInside();
}

function keepInside() {
  const viewer = element("viewer");
  const least = (length) => length * (1 - view.zoom);
  view.x = Math.min(0, Math.max(least(viewer.clientWidth), view.x));
  view.y = Math.min(0, Math.max(least(viewer.clientHeight), view.y));
  draw();
}

function place(event) {
  const box = element("viewer").getBoundingClientRect();
  return {x: event.clientX - box.left, y: event.clientY - box.top};
}

function moved(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = place(event);
  const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  pointers.set(event.pointerId, now);
  if (others.length === 0) {
    element("slider").value = 100 * now.x / element("viewer").clientWidth;
    draw();
    return;
  }
  const other = others[0];
  const apart = (a) => Math.hypot(a.x - other.x, a.y - other.y);
  view.x += (now.x - before.x) / 2;
  view.y += (now.y - before.y) / 2;
  zoomTo(view.zoom * apart(now) / Math.max(1, apart(before)),
    (now.x + other.x) / 2, (now.y + other.y) / 2);
}

export function start() {
  const viewer = element("viewer");
  viewer.addEventListener("pointerdown", (event) => {
    viewer.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    moved(event);
  });
  viewer.addEventListener("pointermove", moved);
  for (const name of ["pointerup", "pointercancel"]) {
    viewer.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  viewer.addEventListener("wheel", (event) => {
    event.preventDefault();
    const {x, y} = place(event);
    zoomTo(view.zoom * Math.exp(-event.deltaY / 300), x, y);
  }, {passive: false});
  element("slider").addEventListener("input", draw);
  element("zoom-in").addEventListener("click", () => zoomTo(view.zoom * 1.5));
  element("zoom-out").addEventListener("click", () => zoomTo(view.zoom / 1.5));
  element("zoom-reset").addEventListener("click", () => zoomTo(1));
  addEventListener("resize", keepInside);
}
