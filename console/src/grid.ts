// How to lay out tiles so that they are as large as they can be.

export interface Fit {
  width: number
  height: number
  overflows: boolean // there are more than fit at the smallest size
}

const WIDEST = 16 / 9
const LEAST_HEIGHT = 96

/** The size that gives `count` tiles the largest area within a box, all in CSS pixels. */
export function fit(count: number, boxWidth: number, boxHeight: number, gap: number): Fit {
  // Cameras see landscape; only where the window itself stands upright is cropping their sides the lesser loss.
  const tallest = boxWidth > boxHeight ? 4 / 3 : 3 / 4
  let best: Fit = { width: 0, height: 0, overflows: false }
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(count / columns)
    const roomWidth = (boxWidth - gap * (columns - 1)) / columns
    const roomHeight = Math.max(LEAST_HEIGHT, (boxHeight - gap * (rows - 1)) / rows)
    const width = Math.floor(Math.min(roomWidth, roomHeight * WIDEST))
    const height = Math.floor(Math.min(roomHeight, width / tallest))
    const overflows = height * rows + gap * (rows - 1) > boxHeight
    if (width * height > best.width * best.height) best = { width, height, overflows }
  }
  return best
}
