import { setLogLevel } from 'livekit-client'
import { render } from 'preact'
import { App } from './app'
import './style.css'

setLogLevel('warn') // its ordinary lines tell of identities that are nobody else's business

const page = document.getElementById('page')
if (page) render(<App />, page)
