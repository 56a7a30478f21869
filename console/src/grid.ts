// How to lay out tiles so that they are as large as they can be.

export interface Fit {
  columns: number
  width: number
  height: number
}

const WIDEST = 16 / 9
const TALLEST = 3 / 4
const LEAST_HEIGHT = 96

/** The number of columns that gives `count` tiles the largest area within a box, all in CSS pixels. */
export function fit(count: number, boxWidth: number, boxHeight: number, gap: number): Fit {
  let best: Fit = { columns: 1, width: 0, height: 0 }
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(count / columns)
    const roomWidth = (boxWidth - gap * (columns - 1)) / columns
    const roomHeight = (boxHeight - gap * (rows - 1)) / rows
    const width = Math.floor(Math.min(roomWidth, roomHeight * WIDEST))
    const height = Math.floor(Math.max(Math.min(roomHeight, width / TALLEST), LEAST_HEIGHT))
    if (width * height > best.width * best.height) best = { columns, width, height }
  }
  return best
}
