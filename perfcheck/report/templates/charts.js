"use strict";
(() => {
  const NEAR = 40; // pixels from the pointer within which a value is read
  const ROWS = 12; // of a tooltip
  const config = JSON.parse(document.getElementById("_config").textContent);
  const spoken = document.getElementById("_spoken");
  const printing = () => location.hash === "#print" || location.search === "?print";
  const element = (name, cls, text) => {
    const made = document.createElement(name);
    if (cls) made.className = cls;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const inflate = async (base64) => {
    const bytes = Uint8Array.from(atob(base64.trim()), (each) => each.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  };
  const library = inflate(document.getElementById("_drawing").textContent).then((code) => {
    const script = element("script");
    script.textContent = code; // the page's policy knows its digest
    document.head.append(script);
  });

  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    return (columns[names[0]] ?? []).map((_, at) => Object.fromEntries(names.map((name) => [name, columns[name][at]])));
  };

  // A specification as it is drawn in so much room: views side by side go below one another.
  const fitted = (spec, width) => {
    const parts = spec.vconcat ?? spec.hconcat ?? spec.concat;
    if (parts) {
      const { hconcat, concat, ...rest } = spec;
      return { ...rest, vconcat: parts.map((part) => ({ ...part, width: Math.max(120, width - 90) })) };
    }
    if (spec.facet || spec.repeat || spec.encoding?.row || spec.encoding?.column || spec.encoding?.facet) return spec;
    return { ...spec, width };
  };
  // The columns that a legend lists, in any part of a specification.
  const listed = (part, found = new Set()) => {
    for (const [key, value] of Object.entries(part ?? {})) {
      if (["color", "fill", "stroke", "shape", "strokeDash"].includes(key) && value?.field) found.add(value.field);
      else if (value && typeof value === "object") listed(value, found);
    }
    return found;
  };
  // A legend has as many columns as its longest label leaves room for.
  const configFor = (spec, columns, width) => {
    const labels = [...listed(spec)].flatMap((name) => [...new Set(columns[name] ?? [])]).filter((each) => typeof each === "string");
    const longest = 40 + 6.6 * Math.max(8, ...labels.map((each) => each.length));
    return { ...config, legend: { ...config.legend, columns: Math.max(1, Math.floor((width - 60) / longest)), labelLimit: width - 110 } };
  };

  // Let the horizontal axis of a compiled specification follow the signal `zoomed`, where it is one of numbers or time.
  const zoomable = (vega) => {
    const scale = (vega.scales ?? []).find((each) => each.name === "x");
    if (!scale || scale.domainRaw || !["linear", "time", "utc", "log", "symlog", "sqrt", "pow"].includes(scale.type)) return false;
    vega.signals = [...(vega.signals ?? []), { name: "zoomed", value: null }];
    scale.domainRaw = { signal: "zoomed" };
    const clip = (marks) => {
      for (const mark of marks ?? []) if (mark.type === "group" && mark.from?.facet) { mark.clip ??= true; clip(mark.marks); } else mark.clip ??= { signal: "!!zoomed" };
    };
    clip(vega.marks);
    return true;
  };

  // All marks that have something to tell, with their places in the plot.
  const pointsOf = (view) => {
    const found = [];
    const visit = (mark, left, top, group) => {
      const run = ["line", "area", "trail"].includes(mark.marktype);
      mark.items.forEach((item) => {
        if (mark.marktype === "group") {
          for (const inner of item.items ?? []) visit(inner, left + (item.x ?? 0), top + (item.y ?? 0), group + 1);
          return;
        }
        if (!item.tooltip || mark.role === "legend" || Number.isNaN(item.x) || Number.isNaN(item.y)) return;
        const rect = mark.marktype === "rect";
        const { x1, x2, y1, y2 } = item.bounds;
        const tall = rect && item.height >= item.width;
        found.push({
          mark, run, rect, x: left + (rect ? (tall ? (x1 + x2) / 2 : x2) : item.x), y: top + (rect ? (tall ? y1 : (y1 + y2) / 2) : item.y),
          box: { x1: left + x1, x2: left + x2, y1: top + y1, y2: top + y2 },
          tell: typeof item.tooltip === "object" ? Object.entries(item.tooltip).map(([key, value]) => [key, String(value)]) : [["", String(item.tooltip)]],
          colour: item.stroke && item.stroke !== "transparent" ? item.stroke : item.fill,
        });
      });
    };
    visit(view.scenegraph().root, 0, 0, 0);
    return found;
  };

  const tip = element("div", "tip");
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);

  const fillTip = (points) => {
    const shown = points.slice(0, ROWS);
    const table = element("table");
    const swatch = (colour) => {
      const made = element("i");
      if (typeof colour === "string") made.style.background = colour;
      return made;
    };
    const names = shown[0].tell.map(([key]) => key);
    const alike = shown.every((each) => each.tell.map(([key]) => key).join("\n") === names.join("\n"));
    if (shown.length === 1 || !alike) {
      for (const point of shown) point.tell.forEach(([key, value], at) => {
        const row = table.insertRow();
        const head = element("th");
        if (at === 0) head.append(swatch(point.colour));
        head.append(key);
        row.append(head, element("td", "", value));
      });
    } else {
      const head = table.insertRow();
      for (const name of names) head.append(element("th", "", name));
      for (const point of shown) {
        const row = table.insertRow();
        point.tell.forEach(([, value], at) => {
          const cell = element("td");
          if (at === 0) cell.append(swatch(point.colour));
          cell.append(value);
          row.append(cell);
        });
      }
    }
    tip.replaceChildren(table);
    if (points.length > shown.length) tip.append(element("p", "", `and ${points.length - shown.length} more`));
  };
  const placeTip = (x, y) => {
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 14 + width > innerWidth - 8 ? x - 14 - width : x + 14;
    tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - height - 8))}px`;
  };

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.plot = figure.querySelector(".plot");
      this.reset = figure.querySelector(".all");
      this.cross = element("div", "cross");
      this.dots = [];
      this.zoomed = null;
      this.width = 0;
      this.plot.hidden = false;
      this.plot.tabIndex = 0;
      this.plot.setAttribute("role", "application");
      this.plot.setAttribute("aria-roledescription", "chart");
      this.plot.setAttribute("aria-labelledby", `${figure.id}_title`);
      this.plot.setAttribute("aria-describedby", `${figure.id}_summary`);
      this.listen();
    }

    async payload() {
      if (!this.read) {
        const found = JSON.parse(this.figure.querySelector("script").textContent);
        this.read = typeof found === "string" ? JSON.parse(await inflate(found)) : found;
        this.read.rows ??= rowsOf(this.read.columns);
      }
      return this.read;
    }

    // Draw, where there is room and it is not drawn for this room yet; one drawing at a time.
    draw() {
      this.drawing = (this.drawing ?? Promise.resolve()).then(() => this.drawNow()).catch((problem) => {
        this.plot.replaceChildren(element("p", "failed", `This chart cannot be drawn: ${problem.message}`));
        this.figure.dataset.state = "failed";
      });
      return this.drawing;
    }

    async drawNow() {
      const width = Math.floor(this.plot.clientWidth);
      if (!width || width === this.width) return;
      await library;
      const { spec, columns, rows } = await this.payload();
      const whole = { ...fitted(spec, width), data: { name: "rows" }, datasets: { rows } };
      this.leave();
      this.shown?.finalize();
      this.shown = await vegaEmbed(this.plot, whole, {
        mode: "vega-lite", ast: true, actions: false, renderer: "svg", tooltip: false, defaultStyle: false, hover: false,
        config: configFor(spec, columns, width), patch: (vega) => {
          if (typeof whole.width === "number") vega.autosize = { type: "fit-x", contains: "padding" };
          this.canZoom = zoomable(vega);
          return vega;
        },
      });
      this.view = this.shown.view;
      this.width = width;
      this.points = null;
      this.plot.classList.remove("vega-embed");
      this.plot.querySelector("svg").setAttribute("aria-hidden", "true");
      this.figure.dataset.state = "drawn";
      if (this.zoomed) await this.zoom(this.zoomed);
    }

    async zoom(domain) {
      if (!this.canZoom) return;
      this.zoomed = domain;
      this.points = null;
      this.reset.hidden = !domain;
      this.leave();
      await this.view.signal("zoomed", domain).runAsync();
    }

    // Zoom to what lies between two places of the plot.
    zoomTo(left, right) {
      const scale = this.view.scale("x");
      return this.zoom([left, right].map((x) => Number(scale.invert(x))));
    }

    zoomBy(factor, at) {
      if (!this.canZoom) return;
      const width = this.view.width();
      const place = at ?? width / 2;
      this.zoomTo(place - place * factor, place + (width - place) * factor);
    }

    // A pointer's place within the plot, as its marks count.
    place(event) {
      const corner = this.corner();
      return { x: event.clientX - corner.x, y: event.clientY - corner.y };
    }

    // Where the plot's corner is in the window, within axes and padding.
    corner() {
      const box = this.plot.querySelector("svg").getBoundingClientRect();
      const [left, top] = this.view.origin();
      const padding = this.view.padding();
      return { x: box.left + left + padding.left, y: box.top + top + padding.top };
    }

    all() {
      if (!this.points) {
        const width = this.view.width();
        this.points = pointsOf(this.view).filter((each) => each.rect || (each.x >= -1 && each.x <= width + 1)).sort((a, b) => a.x - b.x);
      }
      return this.points;
    }

    // What the pointer means: a mark beneath it, else of each line the value nearest to it.
    near({ x, y }) {
      const reach = (each) => Math.hypot(each.x - x, each.y - y);
      const direct = this.all().filter((each) => !each.run && (each.rect ? within(each.box, x, y) : reach(each) < 9));
      const best = new Map();
      for (const each of this.all()) {
        if (!each.run || Math.abs(each.x - x) > NEAR) continue;
        const kept = best.get(each.mark);
        if (!kept || Math.abs(each.x - x) < Math.abs(kept.x - x)) best.set(each.mark, each);
      }
      const symbols = direct.filter((each) => !each.rect).sort((a, b) => reach(a) - reach(b));
      if (symbols.length) return symbols.slice(0, 1);
      const lines = [...best.values()].sort((a, b) => Math.abs(a.y - y) - Math.abs(b.y - y));
      return lines.length ? lines : direct.slice(0, 1);
    }

    show(points, client) {
      this.leave();
      if (!points.length) return;
      const box = this.plot.getBoundingClientRect();
      const corner = this.corner();
      const [x0, y0] = [corner.x - box.left, corner.y - box.top];
      this.cross.style.left = `${x0 + points[0].x}px`;
      this.cross.style.top = `${y0}px`;
      this.cross.style.height = `${this.view.height()}px`;
      this.dots = points.slice(0, ROWS).map((each) => {
        const dot = element("span", "dot");
        dot.style.left = `${x0 + each.x}px`;
        dot.style.top = `${y0 + each.y}px`;
        if (typeof each.colour === "string") dot.style.background = each.colour;
        return dot;
      });
      this.plot.append(this.cross, ...this.dots);
      fillTip(points);
      placeTip(client?.x ?? box.left + x0 + points[0].x, client?.y ?? box.top + y0 + points[0].y);
    }

    leave() {
      tip.hidden = true;
      this.cross.remove();
      for (const dot of this.dots) dot.remove();
      this.dots = [];
    }

    // Go along the values of one series, or to the next series.
    walk(along, across) {
      const series = [...new Set(this.all().map((each) => each.mark))];
      if (!series.length) return;
      this.series = ((this.series ?? 0) + across + series.length) % series.length;
      const points = this.all().filter((each) => each.mark === series[this.series]);
      const before = this.at;
      this.at = before === undefined ? 0 : Math.max(0, Math.min(before + along, points.length - 1));
      const point = points[this.at];
      this.show([point]);
      spoken.textContent = point.tell.map(([key, value]) => (key ? `${key} ${value}` : value)).join(", ");
    }

    listen() {
      const plot = this.plot;
      let start = null;
      const brush = element("div", "brush");
      const keys = {
        ArrowRight: () => this.walk(1, 0), ArrowLeft: () => this.walk(-1, 0), ArrowDown: () => this.walk(0, 1), ArrowUp: () => this.walk(0, -1),
        Home: () => this.walk(-Infinity, 0), End: () => this.walk(Infinity, 0), "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5),
        "-": () => this.zoomBy(2), 0: () => this.zoom(null), Escape: () => this.leave(),
      };
      plot.addEventListener("keydown", (event) => {
        if (!this.view || event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
        keys[event.key]();
        event.preventDefault();
      });
      plot.addEventListener("blur", () => this.leave());
      plot.addEventListener("pointerdown", (event) => {
        if (this.view && event.button === 0) start = this.place(event);
      });
      plot.addEventListener("pointermove", (event) => {
        if (!this.view) return;
        const here = this.place(event);
        if (start && this.canZoom && Math.abs(here.x - start.x) > 6) {
          if (!brush.isConnected) { plot.setPointerCapture(event.pointerId); plot.append(brush); }
          this.leave();
          const box = plot.getBoundingClientRect();
          const offset = event.clientX - box.left - here.x;
          brush.style.left = `${offset + Math.min(here.x, start.x)}px`;
          brush.style.width = `${Math.abs(here.x - start.x)}px`;
          brush.style.top = `${event.clientY - box.top - here.y}px`;
          brush.style.height = `${this.view.height()}px`;
          return;
        }
        this.show(this.near(here), { x: event.clientX, y: event.clientY });
      });
      const end = (event) => {
        if (brush.isConnected && event.type === "pointerup") {
          const ends = [start.x, this.place(event).x].sort((a, b) => a - b);
          this.zoomTo(Math.max(0, ends[0]), Math.min(this.view.width(), ends[1]));
        }
        brush.remove();
        start = null;
      };
      plot.addEventListener("pointerup", end);
      plot.addEventListener("pointercancel", end);
      plot.addEventListener("pointerleave", () => this.leave());
      plot.addEventListener("dblclick", () => this.zoom(null));
      plot.addEventListener("wheel", (event) => {
        if (!event.ctrlKey || !this.view || !this.canZoom) return;
        event.preventDefault();
        this.zoomBy(event.deltaY > 0 ? 1.25 : 0.8, this.place(event).x);
      }, { passive: false });
      this.reset.addEventListener("click", () => { this.zoom(null); plot.focus(); });
    }
  }

  const within = (box, x, y) => x >= box.x1 && x <= box.x2 && y >= box.y1 && y <= box.y2;
  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
  const byPlot = new Map(charts.map((chart) => [chart.plot, chart]));

  // Charts near the window come first, the others when there is nothing else to do.
  const visible = new Set();
  const nearness = new IntersectionObserver((found) => {
    for (const each of found) {
      if (each.isIntersecting) visible.add(each.target); else visible.delete(each.target);
      if (each.isIntersecting) byPlot.get(each.target).draw();
    }
  }, { rootMargin: "400px 0px" });
  let waiting;
  const sizes = new ResizeObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { for (const plot of visible) byPlot.get(plot).draw(); }, 120);
  });
  const idle = window.requestIdleCallback ?? ((call) => setTimeout(call, 50));
  const drawAll = () => Promise.all(charts.map((chart) => chart.draw()));
  const drawRest = (left) => {
    const next = left.shift();
    if (next) idle(() => next.draw().then(() => drawRest(left)));
  };
  addEventListener("beforeprint", drawAll);
  if (printing()) {
    document.documentElement.dataset.theme = "light";
    for (const each of document.querySelectorAll("details")) each.open = true;
    drawAll().then(() => { document.documentElement.dataset.charts = "drawn"; });
  } else {
    for (const chart of charts) { nearness.observe(chart.plot); sizes.observe(chart.plot); }
    library.then(() => drawRest([...charts]));
  }
})();
