"use strict";
(() => {
  const { element } = reading;
  const HIGH = 110; // pixels
  const CONTINUOUS = ["linear", "time", "utc", "log", "symlog", "sqrt", "pow"];
  const config = JSON.parse(document.getElementById("_config").textContent);
  const spoken = document.getElementById("_spoken");

  const inflate = async (base64) => {
    const bytes = Uint8Array.from(atob(base64.trim()), (each) => each.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
  };
  const library = inflate(document.getElementById("_drawing").textContent).then((code) => {
    const script = element("script");
    script.textContent = code; // the page's policy knows its digest
    document.head.append(script);
  });

  const read = async (text) => {
    const found = JSON.parse(text);
    return typeof found === "string" ? JSON.parse(await inflate(found)) : found;
  };
  const data = read(document.getElementById("_data").textContent);

  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    return (columns[names[0]] ?? []).map((_, at) => Object.fromEntries(names.map((name) => [name, columns[name][at]])));
  };

  // A part of a specification without ways to zoom of its own: all charts are zoomed in one way.
  const unbound = (part) => {
    if (Array.isArray(part)) return part.map(unbound);
    if (!part || typeof part !== "object") return part;
    return Object.fromEntries(Object.entries(part).map(([key, value]) => [
      key, key === "params" ? value.filter((each) => each.bind !== "scales") : unbound(value),
    ]));
  };

  // A specification as it is drawn in so much room: views side by side go below one another.
  const fitted = (spec, width) => {
    const { hconcat, concat, vconcat, ...rest } = unbound(spec);
    const parts = vconcat ?? hconcat ?? concat;
    if (parts) return { ...rest, vconcat: parts.map((part) => ({ ...part, width: Math.max(120, width - 90) })) };
    const { row, column, facet } = spec.encoding ?? {};
    return spec.facet || spec.repeat || row || column || facet ? rest : { ...rest, width };
  };

  // On paper, where charts stand side by side, high ones are not as high, so that more rows of them fit a page.
  const paper = location.hash === "#print" || location.search === "?print";
  // Rows, of bars or of hosts, have names that need their height: they come a little nearer and no more.
  const inRows = (spec) => (spec.layer ?? []).some((each) => ["nominal", "ordinal"].includes(each.encoding?.y?.type) || each.encoding?.y?.axis === null);
  const lowered = (spec, width) => Math.round(inRows(spec) ? 0.9 * spec.height : Math.min(0.5 * spec.height, 0.38 * width));
  const lower = (spec, width) => (spec.height > HIGH ? { ...spec, height: Math.max(HIGH, lowered(spec, width)) } : spec);

  // The labels of legends in any part of a specification.
  const labelsOf = (part, columns) => Object.entries(part ?? {}).flatMap(([key, value]) => {
    if (!value || typeof value !== "object") return [];
    if (!["color", "fill", "stroke", "shape", "strokeDash"].includes(key) || value.legend === null) return labelsOf(value, columns);
    return value.legend?.values ?? value.scale?.domain ?? [...new Set(columns[value.field] ?? [])];
  });
  // A legend has as many columns as its longest label leaves room for.
  const configFor = (spec, columns, width) => {
    const longest = 40 + 6.6 * Math.max(8, ...labelsOf(spec, columns).filter((each) => typeof each === "string").map((each) => each.length));
    return { ...config, legend: { ...config.legend, columns: Math.max(1, Math.floor((width - 60) / longest)), labelLimit: Math.max(80, width - 110) } };
  };

  // Let the horizontal axis follow the signal `zoomed`, where it is one of numbers or times.
  const zoomable = (vega) => {
    const scale = (vega.scales ?? []).find((each) => each.name === "x");
    if (!scale || scale.domainRaw || !CONTINUOUS.includes(scale.type)) return false;
    (vega.signals ??= []).push({ name: "zoomed", value: null });
    scale.domainRaw = { signal: "zoomed" };
    const clip = (mark) => {
      if (mark.type === "group") (mark.marks ?? []).forEach(clip);
      else mark.clip ??= { signal: "!!zoomed" };
    };
    (vega.marks ?? []).forEach(clip);
    return true;
  };

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.plot = figure.querySelector(".plot");
      this.reset = figure.querySelector(".all");
      this.cross = element("div", "cross");
      this.brush = element("div", "brush");
      this.dots = [];
      this.width = 0;
      this.room = null; // on paper, while the page is printed
      this.low = false;
      this.series = 0;
      this.drawing = Promise.resolve();
      this.plot.hidden = false;
      this.plot.tabIndex = 0;
      for (const [name, value] of [["role", "application"], ["aria-roledescription", "chart"], ["aria-labelledby", `${figure.id}_title`], ["aria-describedby", `${figure.id}_summary`]]) this.plot.setAttribute(name, value);
      this.listen();
    }

    // Draw, where there is room and this is not drawn for so much room yet.
    draw() {
      this.drawing = this.drawing.then(() => this.drawNow()).catch((problem) => {
        this.plot.replaceChildren(element("p", "failed", `This chart cannot be drawn: ${problem.message}`));
        this.figure.dataset.state = "failed";
      });
      return this.drawing;
    }

    async drawNow() {
      const low = paper || this.room !== null;
      const width = Math.floor(this.room ?? this.plot.clientWidth);
      if (!width || (width === this.width && low === this.low)) return;
      await library;
      const { spec, columns } = (await data)[this.figure.id];
      const whole = { ...fitted(low ? lower(spec, width) : spec, width), data: { name: "rows" }, datasets: { rows: rowsOf(columns) } };
      const patch = (vega) => {
        if (typeof whole.width === "number") vega.autosize = { type: "fit-x", contains: "padding" };
        this.canZoom = zoomable(vega);
        return vega;
      };
      this.leave();
      this.shown?.finalize();
      this.shown = await vegaEmbed(this.plot, whole, {
        mode: "vega-lite", ast: true, actions: false, renderer: "svg", tooltip: false, defaultStyle: false, hover: false,
        config: configFor(spec, columns, width), patch,
      });
      this.view = this.shown.view;
      Object.assign(this, { width, low });
      this.points = null;
      this.plot.classList.remove("vega-embed");
      this.svg = this.plot.querySelector("svg");
      this.svg.setAttribute("aria-hidden", "true");
      this.figure.dataset.state = "drawn";
      if (this.zoomed) await this.zoom(this.zoomed);
    }

    async zoom(domain) {
      if (!this.canZoom) return;
      this.zoomed = domain;
      this.points = this.at = null;
      this.reset.hidden = !domain;
      this.leave();
      await this.view.signal("zoomed", domain).runAsync();
    }

    // Zoom to what lies between two places of the plot.
    zoomTo(left, right) {
      const scale = this.view.scale("x");
      return this.zoom([left, right].map((x) => Number(scale.invert(x))));
    }

    zoomBy(factor, at = this.view.width() / 2) {
      if (this.canZoom) this.zoomTo(at - at * factor, at + (this.view.width() - at) * factor);
    }

    // Where the plot's corner is in the window, within its axes.
    corner() {
      const box = this.svg.getBoundingClientRect();
      const [left, top] = this.view.origin();
      const padding = this.view.padding();
      return { x: box.left + left + padding.left, y: box.top + top + padding.top };
    }

    // A pointer's place as the plot counts.
    place(event) {
      const corner = this.corner();
      return { x: event.clientX - corner.x, y: event.clientY - corner.y };
    }

    all() {
      return (this.points ??= reading.pointsOf(this.view));
    }

    // Show points with a line through the first; beside the pointer, else beside the first.
    show(points, pointer) {
      this.leave();
      if (!points.length) return;
      const box = this.plot.getBoundingClientRect();
      const corner = this.corner();
      const put = (mark, place) => Object.assign(mark.style, Object.fromEntries(Object.entries(place).map(([side, value]) => [side, `${value}px`])));
      if (points[0].run) this.plot.append(this.cross);
      put(this.cross, { left: corner.x - box.left + points[0].x, top: corner.y - box.top, height: this.view.height() });
      this.dots = points.slice(0, reading.ROWS).filter((each) => !each.bare).map((each) => {
        const dot = element("span", "dot");
        put(dot, { left: corner.x - box.left + each.x, top: corner.y - box.top + each.y });
        dot.style.background = each.colour ?? "none";
        return dot;
      });
      this.plot.append(...this.dots);
      reading.tell(points, pointer?.clientX ?? corner.x + points[0].x, pointer?.clientY ?? corner.y + points[0].y);
    }

    leave() {
      reading.hide();
      for (const each of [this.cross, ...this.dots]) each.remove();
      this.dots = [];
    }

    // Go along the values of one series, or over to another one.
    walk(along, across) {
      const series = [...new Set(this.all().map((each) => each.mark))];
      if (!series.length) return;
      this.series = (this.series + across + series.length) % series.length;
      const points = this.all().filter((each) => each.mark === series[this.series]);
      this.at = Math.max(0, Math.min((this.at ?? -1) + along, points.length - 1));
      this.show([points[this.at]]);
      spoken.textContent = reading.spoken(points[this.at]);
    }

    stretch(event) {
      const here = this.place(event);
      if (!this.brush.isConnected) {
        this.plot.setPointerCapture(event.pointerId);
        this.plot.append(this.brush);
      }
      this.leave();
      const box = this.plot.getBoundingClientRect();
      const corner = this.corner();
      const [left, right] = [here.x, this.start.x].sort((a, b) => a - b).map((x) => Math.max(0, Math.min(x, this.view.width())));
      Object.assign(this.brush.style, {
        left: `${corner.x - box.left + left}px`, width: `${right - left}px`, top: `${corner.y - box.top}px`, height: `${this.view.height()}px`,
      });
      this.chosen = [left, right];
    }

    listen() {
      const on = (name, act, options) => this.plot.addEventListener(name, (event) => { if (this.view) act(event); }, options);
      const keys = {
        ArrowRight: () => this.walk(1, 0), ArrowLeft: () => this.walk(-1, 0), ArrowDown: () => this.walk(0, 1), ArrowUp: () => this.walk(0, -1),
        Home: () => this.walk(-Infinity, 0), End: () => this.walk(Infinity, 0),
        "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5), "-": () => this.zoomBy(2), 0: () => this.zoom(null),
      };
      on("keydown", (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
        keys[event.key]();
        event.preventDefault();
      });
      on("pointerdown", (event) => {
        if (event.button === 0) this.start = this.place(event);
        this.show(reading.near(this.all(), this.place(event)), event);
      });
      on("pointermove", (event) => {
        const here = this.place(event);
        if (this.start && this.canZoom && (this.brush.isConnected || Math.abs(here.x - this.start.x) > 6)) this.stretch(event);
        else this.show(reading.near(this.all(), here), event);
      });
      const end = (event) => {
        if (this.brush.isConnected && event.type === "pointerup" && this.chosen[1] > this.chosen[0]) this.zoomTo(...this.chosen);
        this.brush.remove();
        this.start = null;
      };
      on("pointerup", end);
      on("pointercancel", end);
      // A finger that is lifted leaves, too; what it pointed to stays to be read.
      on("pointerleave", (event) => { if (event.pointerType === "mouse") this.leave(); });
      on("blur", () => this.leave());
      on("dblclick", () => this.zoom(null));
      on("wheel", (event) => {
        if (!event.ctrlKey || !this.canZoom) return;
        event.preventDefault();
        this.zoomBy(event.deltaY > 0 ? 1.25 : 0.8, this.place(event).x);
      }, { passive: false });
      this.reset.addEventListener("click", () => { this.zoom(null); this.plot.focus(); });
    }
  }

  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => new Chart(figure));
  const byPlot = new Map(charts.map((chart) => [chart.plot, chart]));
  const leaveAll = () => { for (const chart of charts) chart.leave(); };

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
  // What each chart has on paper is told only by a layout as wide as paper, which nobody sees.
  const roomsOnPaper = () => {
    const top = scrollY;
    document.documentElement.dataset.paper = "";
    const rooms = charts.map((chart) => chart.plot.clientWidth);
    delete document.documentElement.dataset.paper;
    scrollTo({ top, behavior: "instant" });
    return rooms;
  };
  // All is drawn anew before the browser lays out its pages: nothing of it waits for more than promises. Firefox keeps
  // promises waiting until it has printed; there the style sheet shrinks what is drawn to the paper.
  const toPaper = () => {
    const rooms = roomsOnPaper();
    charts.forEach((chart, at) => { if (!chart.figure.closest(".unprinted")) chart.room = rooms[at]; });
    drawAll();
  };
  const toScreen = () => {
    for (const chart of charts) chart.room = null;
    drawAll();
  };
  const drawRest = (left) => {
    const next = left.shift();
    if (next) idle(() => next.draw().then(() => drawRest(left)));
  };
  document.addEventListener("toggle", (event) => {
    for (const plot of event.target.querySelectorAll(".plot")) byPlot.get(plot).draw();
  }, true);
  addEventListener("scroll", leaveAll, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") leaveAll(); });
  if (paper) {
    document.documentElement.dataset.theme = "light";
    for (const each of document.querySelectorAll("details")) each.open = true;
    drawAll();
  } else {
    addEventListener("beforeprint", toPaper);
    addEventListener("afterprint", toScreen);
    for (const chart of charts) { nearness.observe(chart.plot); sizes.observe(chart.plot); }
    library.then(() => drawRest([...charts]));
  }
})();
