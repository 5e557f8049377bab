// The exact flow of a guided Gaussian mixture, in closed form. Knows nothing of the page.
//
// With y = x / sqrt(v + sigma^2) and u = 1 / sqrt(v + sigma^2), dy/du is the mean of the mode
// centres under softmax(log weights + u y.mean - u^2 |mean|^2 / 2), that of all classes and that
// of one class combined as guidance does; y is standard normal at u = 0, and x = y / u at
// u = 1 / sqrt(v).

/** Return n points of a standard normal in the plane, evenly spread and the same every time. */
function normalStarts(n) {
  const y = new Float64Array(2 * n);
  let seed = 1;
  const jitter = () => {
    seed = (1103515245 * seed + 12345) % 2147483648;
    return seed / 2147483648 / Math.sqrt(n); // no lattice is seen
  };
  for (let i = 0; i < n; i++) {
    const radius = Math.sqrt(
      -2 * Math.log(1 - ((0.5 + 0.7548776662466927 * (i + 1) + jitter()) % 1)),
    );
    const angle = 2 * Math.PI * ((0.5 + 0.5698402909980532 * (i + 1) + jitter()) % 1);
    y[2 * i] = radius * Math.cos(angle);
    y[2 * i + 1] = radius * Math.sin(angle);
  }
  return y;
}

/** Return the law of modes over all classes. */
const meanLaw = ({ weights }) =>
  weights[0].map((_, j) => weights.reduce((sum, w) => sum + w[j] / weights.length, 0));

/** Return where points (n, 2) of a standard normal end: samples guided to a class. */
function guidedFlow(mixture, label, scale, starts) {
  const k = mixture.means.length;
  const own = mixture.weights[label];
  const all = meanLaw(mixture);
  const mean = [0, 1].map((axis) => mixture.means.reduce((sum, m) => sum + m[axis] / k, 0));
  const mx = mixture.means.map((m) => m[0] - mean[0]);
  const my = mixture.means.map((m) => m[1] - mean[1]);
  const end = 1 / Math.sqrt(mixture.variance);
  const apart = mx.flatMap((x, i) => mx.map((other, j) => Math.hypot(x - other, my[i] - my[j])));
  const steps = Math.min(80, Math.max(20, Math.ceil((end * Math.max(...apart)) / 0.6)));
  const du = end / steps;
  const logits = new Float64Array(k);
  let [fx, fy] = [0, 0]; // the last slope

  function slope(x, y, u) {
    let top = -Infinity;
    for (let j = 0; j < k; j++) {
      logits[j] = u * (x * mx[j] + y * my[j]) - ((u * u) / 2) * (mx[j] * mx[j] + my[j] * my[j]);
      if (all[j] > 0 && logits[j] > top) top = logits[j];
    }
    let [a, ax, ay, b, bx, by] = [0, 0, 0, 0, 0, 0]; // sums over all classes, over the one
    for (let j = 0; j < k; j++) {
      const e = Math.exp(Math.min(0, logits[j] - top));
      const p = all[j] * e;
      const q = own[j] * e;
      a += p;
      ax += p * mx[j];
      ay += p * my[j];
      b += q;
      bx += q * mx[j];
      by += q * my[j];
    }
    // So far from the class's modes that all have underflowed, the one is as all.
    if (b === 0) [b, bx, by] = [a, ax, ay];
    fx = ax / a + scale * (bx / b - ax / a);
    fy = ay / a + scale * (by / b - ay / a);
  }

  const found = new Float64Array(starts.length);
  for (let i = 0; i < starts.length; i += 2) {
    let x = starts[i];
    let y = starts[i + 1];
    for (let step = 0; step < steps; step++) {
      const u = step * du;
      slope(x, y, u);
      const [ax, ay] = [fx, fy];
      slope(x + (du / 2) * ax, y + (du / 2) * ay, u + du / 2);
      const [bx, by] = [fx, fy];
      slope(x + (du / 2) * bx, y + (du / 2) * by, u + du / 2);
      const [cx, cy] = [fx, fy];
      slope(x + du * cx, y + du * cy, u + du);
      x += (du / 6) * (ax + 2 * bx + 2 * cx + fx);
      y += (du / 6) * (ay + 2 * by + 2 * cy + fy);
    }
    found[i] = x / end + mean[0];
    found[i + 1] = y / end + mean[1];
  }
  return found;
}

/** Return each point's mode, -1 outside every radius of probability .999, and the measures. */
function measurePoints(mixture, label, points) {
  const n = points.length / 2;
  const k = mixture.means.length;
  const own = mixture.weights[label];
  const radius = -2 * Math.log(0.001) * mixture.variance;
  const modes = new Int8Array(n);
  const counts = new Float64Array(k);
  for (let i = 0; i < n; i++) {
    let best = Infinity;
    let mode = -1;
    for (let j = 0; j < k; j++) {
      const [x, y] = mixture.means[j];
      const d = (points[2 * i] - x) ** 2 + (points[2 * i + 1] - y) ** 2;
      if (d < best) {
        best = d;
        mode = j;
      }
    }
    modes[i] = best <= radius ? mode : -1;
    if (modes[i] >= 0) counts[mode]++;
  }
  const total = counts.reduce((a, b) => a + b, 0);
  const shares = Array.from(counts, (c) => c / total);
  let [aligned, covered, possible, entropy] = [0, 0, 0, 0];
  for (let j = 0; j < k; j++) {
    const mass = mixture.weights.reduce((sum, w) => sum + w[j], 0);
    if (mass > 0) aligned += (shares[j] * own[j]) / mass;
    if (own[j] > 0) {
      possible++;
      covered += counts[j] >= Math.max(1, Math.ceil(0.25 * total * own[j] - 1e-9));
    }
    if (shares[j] > 0) entropy -= shares[j] * Math.log(shares[j]);
  }
  return {
    modes,
    shares,
    measures: {
      mode_coverage: covered / possible,
      alignment: aligned,
      validity: total / n,
      effective_modes: Math.exp(entropy),
    },
  };
}

/** Return the law p(mode | class)^scale p(mode)^(1 - scale): what guidance is said to sample. */
function tiltedLaw(mixture, label, scale) {
  const all = meanLaw(mixture);
  const raw = mixture.weights[label].map((own, j) => {
    const possible = own > 0 || (scale === 0 && all[j] > 0);
    return possible ? own ** scale * all[j] ** (1 - scale) : 0;
  });
  const total = raw.reduce((a, b) => a + b, 0);
  return raw.map((p) => p / total);
}
