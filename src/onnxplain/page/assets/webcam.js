/** Frames of a webcam, one at a time: those that come while one is explained are dropped, never queued. */

const SECONDS = 2;

export class Webcam {
  /** `explain(bitmap)` explains a frame; `told(rate, dropped)` is called after each with maps a second and frames dropped. */
  constructor(video, { explain, told }) {
    Object.assign(this, { video, explain, told, stream: null, busy: false, dropped: 0, times: [] });
  }

  get running() {
    return this.stream !== null;
  }

  async start() {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    Object.assign(this, { stream, dropped: 0, times: [] });
    this.video.srcObject = stream;
    await this.video.play();
    this.next();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = this.video.srcObject = null;
  }

  next() {
    if (this.running) this.video.requestVideoFrameCallback(() => this.frame());
  }

  async frame() {
    this.next();
    if (this.busy) {
      this.dropped += 1;
      return;
    }
    this.busy = true;
    try {
      await this.explain(await createImageBitmap(this.video));
      const now = performance.now();
      this.times = [...this.times, now].filter((time) => now - time < SECONDS * 1000);
      if (this.running) this.told(this.times.length > 1 ? ((this.times.length - 1) * 1000) / (now - this.times[0]) : 0, this.dropped);
    } catch {
      this.stop();
    } finally {
      this.busy = false;
    }
  }
}
