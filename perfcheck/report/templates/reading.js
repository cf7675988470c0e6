"use strict";
// What a drawn chart tells at a place: values from its marks, and the box that shows them.
const reading = (() => {
  const NEAR = 40; // pixels within which a value is read
  const TOUCHED = 9; // pixels within which a mark counts as meant
  const SLACK = 3; // pixels about what is thin
  const ROWS = 12; // of the box
  const RUNS = ["line", "area", "trail"];

  const element = (name, cls, text) => {
    const made = document.createElement(name);
    if (cls) made.className = cls;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // What a mark has to tell, as pairs of a name and a value.
  const told = (tooltip) =>
    Object.entries(typeof tooltip === "object" ? tooltip : { "": tooltip })
      .map(([name, value]) => [name, String(value)])
      .filter(([, value]) => value !== "null"); // not known
  const colourOf = (item) => [item.stroke, item.fill].find((each) => typeof each === "string" && each !== "transparent");

  // A mark's place and kind: of a `run` along the axis, such as a line's values or upright rules, or a `box`.
  const pointOf = (mark, item, left, top) => {
    const { x1, x2, y1, y2 } = item.bounds;
    const rule = mark.marktype === "rule";
    const upright = y2 - y1 >= x2 - x1;
    const box = mark.marktype === "rect" || (rule && !upright);
    const end = upright ? [(x1 + x2) / 2, y1] : [x2, (y1 + y2) / 2];
    const [x, y] = box ? end : [item.x, item.y];
    return {
      mark, box, bare: rule, run: RUNS.includes(mark.marktype) || (rule && upright), tells: told(item.tooltip), colour: colourOf(item),
      x: left + x, y: top + y, edges: { x1: left + x1 - SLACK, x2: left + x2 + SLACK, y1: top + y1 - SLACK, y2: top + y2 + SLACK },
    };
  };

  // All marks of a view that have something to tell, from left to right, as its plot counts places.
  const pointsOf = (view) => {
    const found = [];
    const visit = (mark, left, top) => {
      for (const item of mark.items) {
        if (mark.marktype === "group") for (const inner of item.items) visit(inner, left + (item.x ?? 0), top + (item.y ?? 0));
        else if (item.tooltip && !item.isVoronoi && !Number.isNaN(item.x + item.y)) found.push(pointOf(mark, item, left, top));
      }
    };
    visit(view.scenegraph().root, 0, 0);
    const width = view.width();
    return found.filter((each) => each.box || !(each.x < -1 || each.x > width + 1)).sort((a, b) => a.x - b.x);
  };

  const within = ({ x1, x2, y1, y2 }, x, y) => x >= x1 && x <= x2 && y >= y1 && y <= y2;

  // The index of the first point that is not left of a place.
  const indexAt = (points, x) => {
    let [low, high] = [0, points.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle].x < x) low = middle + 1; else high = middle;
    }
    return low;
  };

  // What a place means: a mark beneath it, else of each run the value nearest along it, else a mark beside it or a box.
  const near = (points, { x, y }) => {
    const reach = (each) => Math.hypot(each.x - x, each.y - y);
    const beside = points.slice(indexAt(points, x - NEAR), indexAt(points, x + NEAR));
    const single = beside.filter((each) => !each.run && !each.box && reach(each) < NEAR).sort((a, b) => reach(a) - reach(b));
    if (single.length && reach(single[0]) < TOUCHED) return single.slice(0, 1);
    const best = new Map();
    for (const each of beside) {
      if (!each.run) continue;
      const kept = best.get(each.mark);
      if (!kept || Math.abs(each.x - x) < Math.abs(kept.x - x)) best.set(each.mark, each);
    }
    if (best.size) return [...best.values()].sort((a, b) => Math.abs(a.y - y) - Math.abs(b.y - y));
    return single.length ? single.slice(0, 1) : points.filter((each) => each.box && within(each.edges, x, y)).slice(-1);
  };

  const box = element("div", "tip");
  box.hidden = true;
  box.setAttribute("aria-hidden", "true");
  document.body.append(box);

  const cell = (point, value) => {
    const made = element("td");
    if (point && !point.bare) {
      const swatch = element("i");
      swatch.style.background = point.colour ?? "none";
      made.append(swatch);
    }
    made.append(value);
    return made;
  };
  const row = (table, ...cells) => table.insertRow().append(...cells);

  // One value below the other, those that are not of the first point's kind as well.
  const listOf = (points) => {
    const table = element("table");
    for (const point of points) point.tells.forEach(([name, value], at) => row(table, element("th", "", name), cell(at ? null : point, value)));
    return [table];
  };

  // A row for each point; what they all have alike stands above.
  const tableOf = (points) => {
    const names = points[0].tells.map(([name]) => name);
    const alike = names.map((_, at) => points.every((each) => each.tells[at][1] === points[0].tells[at][1]));
    const differing = names.map((_, at) => at).filter((at) => !alike[at]);
    if (!differing.length) return listOf(points.slice(0, 1));
    const table = element("table");
    row(table, ...differing.map((at) => element("th", "", names[at])));
    for (const point of points) row(table, ...differing.map((at, place) => cell(place ? null : point, point.tells[at][1])));
    const shared = names.filter((_, at) => alike[at]).map((name) => `${name} ${points[0].tells[names.indexOf(name)][1]}`);
    return shared.length ? [element("p", "", shared.join(", ")), table] : [table];
  };

  const tell = (points, x, y) => {
    const shown = points.slice(0, ROWS);
    const kind = (each) => each.tells.map(([name]) => name).join("\n");
    const same = shown.length > 1 && shown.every((each) => kind(each) === kind(shown[0]));
    box.replaceChildren(...(same ? tableOf(shown) : listOf(shown)));
    if (points.length > shown.length) box.append(element("p", "", `and ${points.length - shown.length} more`));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const left = x + 14 + width > innerWidth - 8 ? x - 14 - width : x + 14;
    const top = y + 14 + height > innerHeight - 8 ? y - 14 - height : y + 14;
    box.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    box.style.top = `${Math.max(8, top)}px`;
  };
  const spoken = (point) => point.tells.map(([name, value]) => `${name} ${value}`.trim()).join(", ");

  return { ROWS, element, pointsOf, near, tell, spoken, hide: () => { box.hidden = true; } };
})();
