import sys
from playwright.sync_api import sync_playwright
SHOTS = {
 'lobby':'kind=lobby&cam=1','lobby-asleep':'kind=lobby&name=','error':'kind=lobby&notice=expired&token=1&nomint=1','left':'kind=lobby&notice=left&problem=1',
 'one':'n=1&nocam=9','two':'n=2&nocam=9&muted=9','five':'n=5','share':'n=4&share=theirs','mine':'n=2&share=mine','chat':'n=3&CHAT&chat=full','nine':'n=9&state=reconnecting&toast=1&mic=off',
}
SIZES={'d':(1440,900),'p':(390,844)}
pick=sys.argv[1].split(',') if len(sys.argv)>1 and sys.argv[1]!='all' else list(SHOTS)
sizes=sys.argv[2] if len(sys.argv)>2 else 'dp'
schemes=sys.argv[3].split(',') if len(sys.argv)>3 else ['light','dark']
with sync_playwright() as p:
    b=p.chromium.launch(executable_path='/usr/bin/chromium',args=['--no-sandbox','--disable-gpu','--autoplay-policy=no-user-gesture-required'])
    for s in sizes:
        for scheme in schemes:
            w,h=SIZES[s]
            c=b.new_context(viewport={'width':w,'height':h},color_scheme=scheme)
            pg=c.new_page()
            pg.on('console',lambda m:m.type in('error','warning') and print(m.type,m.text[:300]))
            for k in pick:
                pg.goto('http://127.0.0.1:5199/try/mock/index.html?'+SHOTS[k])
                if 'CHAT' in SHOTS[k]: pg.get_by_role('button',name='Chat').click()
                pg.wait_for_timeout(900)
                pg.screenshot(path=f'/tmp/shots/{k}-{s}-{scheme}.png')
            c.close()
