// The customer's app of the test: plays a film with hls.js, keeps its own record of what happened (the truth that the
// service's figures are compared with), probes the network from where it stands, and asks for a self-check.
"use strict";

const customer = {
  truth: [], // {kind, at}: at is milliseconds since 1970, from the page's monotonic clock
  failures: [], // what hls.js reported as an error: {details, fatal, status}
  hls: null,
  measuring: null, // the probes under way: a promise
  sending: [], // posts to the collector, answered or under way: promises

  now() {
    return performance.timeOrigin + performance.now();
  },

  note(kind) {
    this.truth.push({ kind, at: this.now() });
  },

  // How the player tells the collector: `device token in a header` where the app can set one, `in the path` where it cannot.
  eventTarget({ collector, token, tokenIn }) {
    const events = ["ps", "bc", "e", "t", "c", "rr", "pr"];
    const url = tokenIn === "path" ? `${collector}/v1/cmcd/${token}` : `${collector}/v1/cmcd`;
    return { url, events, interval: 5, batchSize: 1 };
  },

  // Starts playing and answers at once; `truth` fills while it plays.
  play({ film, sessionId, contentId, collector, token, tokenIn, startLevel = 1, patience = {} }) {
    const screen = document.getElementById("screen");
    for (const kind of ["play", "playing", "waiting", "pause", "seeking", "seeked", "ended", "error"]) {
      screen.addEventListener(kind, () => this.note(kind));
    }
    const withToken = (request) => {
      const { url, headers, ...rest } = request;
      const authorization = tokenIn === "path" ? {} : { Authorization: `Bearer ${token}` };
      const answer = fetch(url, { ...rest, headers: { ...headers, ...authorization }, keepalive: true });
      this.sending.push(answer);
      return answer;
    };
    const hls = new Hls({
      startLevel,
      maxBufferLength: 4,
      maxMaxBufferLength: 4,
      backBufferLength: 2,
      ...patience,
      cmcd: {
        version: 2,
        sessionId,
        contentId,
        eventTargets: [this.eventTarget({ collector, token, tokenIn })],
        loader: withToken,
      },
    });
    hls.on(Hls.Events.ERROR, (_, data) => {
      this.failures.push({ details: data.details, fatal: data.fatal, status: data.response?.code ?? null });
      if (data.fatal) this.note("fatal");
    });
    this.hls = hls;
    screen.autoplay = true;
    hls.loadSource(film);
    this.note("requested"); // a screen that plays by itself is the request to play; what came before is preloading
    hls.attachMedia(screen);
  },

  pause() {
    document.getElementById("screen").pause();
  },

  resume() {
    return document.getElementById("screen").play();
  },

  seek(second) {
    document.getElementById("screen").currentTime = second;
  },

  position() {
    return document.getElementById("screen").currentTime;
  },

  // The customer leaves: hls.js sends what it still holds. Done when the collector has answered every post.
  async leave() {
    this.note("left");
    this.hls.destroy();
    const answers = await Promise.all(this.sending);
    return answers.filter((answer) => !answer.ok).map((answer) => answer.status);
  },

  // One request measured as the browser measured it. Phases that did not happen (a name that needed no look-up, a
  // connection that was open already) are left out: not measured is not zero.
  async probe({ url, role }) {
    const host = new URL(url).hostname;
    const probe = { host, role };
    const asked = `${url}${url.includes("?") ? "&" : "?"}probe=${crypto.randomUUID()}`;
    try {
      const answer = await fetch(asked, { cache: "no-store", signal: AbortSignal.timeout(6000) });
      probe.http_status = answer.status;
      const size = (await answer.arrayBuffer()).byteLength;
      const [timing] = performance.getEntriesByName(asked);
      const since = (from, to) => Math.round((timing[to] - timing[from]) * 1000) / 1000;
      if (timing.domainLookupEnd > timing.domainLookupStart) probe.dns_ms = since("domainLookupStart", "domainLookupEnd");
      if (timing.connectEnd > timing.connectStart) probe.tcp_ms = since("connectStart", "connectEnd");
      if (timing.responseStart > 0) {
        probe.first_byte_ms = since("requestStart", "responseStart");
        const seconds = since("responseStart", "responseEnd") / 1000;
        if (size >= 10000 && seconds > 0.001) probe.throughput_kbps = Math.round((size * 8) / 1000 / seconds);
      }
    } catch (error) {
      if (probe.http_status === undefined) probe.tcp_error = error.name === "TimeoutError" ? "timeout" : "refused";
    }
    return probe;
  },

  async probes(targets) {
    const seen = [];
    for (const target of targets) seen.push(await this.probe(target));
    return seen;
  },

  // The one tap: posts the snapshot with what was measured. `handset` is what a phone would know of itself and a desktop
  // browser does not: place, device, settings, status, radio.
  async check({ collector, token, handset, probes, waitMs, player, symptom, sessionId }) {
    const snapshot = {
      id: crypto.randomUUID(),
      observed_at: new Date().toISOString(),
      service: "video",
      ...(symptom === null ? {} : { symptom }),
      session_id: sessionId,
      ...handset,
      probes,
      player,
    };
    const started = performance.now();
    const answer = await fetch(`${collector}/v1/self-checks?wait_ms=${waitMs}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(snapshot),
    });
    return { status: answer.status, body: await answer.json(), tookMs: performance.now() - started, snapshot };
  },
};
