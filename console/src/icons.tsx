// The page's few pictograms: 24 by 24, drawn with the current colour, silent to screen readers.

import type { ComponentChildren } from 'preact'

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      {children}
    </svg>
  )
}

const slash = <path class="slash" d="M4 4l16 16" />

export const MicIcon = ({ off = false }) => (
  <Icon>
    <rect x="9" y="3" width="6" height="11" rx="3" />
    <path d="M5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3" />
    {off && slash}
  </Icon>
)

export const CameraIcon = ({ off = false }) => (
  <Icon>
    <rect x="3" y="6.500" width="12.500" height="11" rx="3" />
    <path d="M15.500 10.500l5-2.700v8.400l-5-2.700" />
    {off && slash}
  </Icon>
)

export const ScreenIcon = () => (
  <Icon>
    <rect x="3" y="4.500" width="18" height="12.500" rx="2.500" />
    <path d="M8.500 20.500h7M12 14V8M9.300 10.500L12 7.800l2.700 2.700" />
  </Icon>
)

export const ChatIcon = () => (
  <Icon>
    <path d="M4 19.500V11.500a7 7 0 0 1 7-7h2a7 7 0 0 1 0 15z" />
    <path d="M9 10.500h6M9 13.800h3.500" />
  </Icon>
)

export const LeaveIcon = () => (
  <Icon>
    <path d="M10 4.500H6.500a2 2 0 0 0-2 2v11a2 2 0 0 0 2 2H10M14.500 8l4 4-4 4M18 12H9.500" />
  </Icon>
)

export const LinkIcon = () => (
  <Icon>
    <path d="M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1" />
  </Icon>
)

export const DevicesIcon = () => (
  <Icon>
    <path d="M4 8h9M19 8h1M4 16h1M11 16h9" />
    <circle cx="16" cy="8" r="2.800" />
    <circle cx="8" cy="16" r="2.800" />
  </Icon>
)

export const SendIcon = () => (
  <Icon>
    <path d="M12 19V5.500M6 11.300l6-6 6 6" />
  </Icon>
)

export const CloseIcon = () => (
  <Icon>
    <path d="M6 6l12 12M18 6L6 18" />
  </Icon>
)

export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <path class="mark-one" d="M3 26V13.500a9.500 9.500 0 1 1 9.500 9.500H6z" />
    <path class="mark-two" d="M29 29V19a7 7 0 1 0-7 7h4z" />
  </svg>
)
