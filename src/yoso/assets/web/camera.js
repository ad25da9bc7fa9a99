// The camera: frames go to the worker one at a time, so that the picture is never older than one frame.

const SMOOTHING = 0.8;

export class Camera {
  // `segment(bitmap)` returns a promise that resolves when the frame is shown; `told(fps)` shows the speed.
  constructor(segment, told) {
    this.segment = segment;
    this.told = told;
    this.stream = null;
  }

  get running() {
    return this.stream !== null;
  }

  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give the camera to pages on https or localhost only. Open the page there.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } },
      });
    } catch (error) {
      throw new Error(
        error.name === "NotAllowedError"
          ? "The browser did not allow the camera. Allow it in the browser's settings for this page."
          : "No camera was found, or another program uses it.",
      );
    }
    const video = document.createElement("video");
    Object.assign(video, { srcObject: this.stream, muted: true, playsInline: true });
    await video.play();
    this.loop(video, this.stream);
  }

  async loop(video, stream) {
    let interval = null;
    let before = performance.now();
    try {
      while (this.stream === stream) {
        const done = await this.segment(await createImageBitmap(video));
        if (!done) break;
        const now = performance.now();
        interval = interval === null ? now - before : SMOOTHING * interval + (1 - SMOOTHING) * (now - before);
        before = now;
        if (this.stream === stream) this.told(1000 / interval);
      }
    } finally {
      if (this.stream === stream) this.stop();
    }
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.told(null);
  }
}
