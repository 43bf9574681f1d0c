"""ImageNet's animals, classes 0 to 397, in the words of the network: the category each belongs to, the breed it is where we name one, and what it is called.

Facts in a layout of our own: a line per stretch of neighbouring classes of one category, in the order of the classes; an entry is `English/日本語` or `English/日本語/breed`.
The dingo stands with the dogs: it is one, and what looks like it on this network is a shiba. ImageNet's Egyptian cat is called a cat: its pictures are of all kinds.
Spiders and their like stand with the insects, as people post them.
"""

from functools import cache
from typing import NamedTuple

from tanuki.animals.taxonomy import BREEDS, CATEGORIES

ANIMALS = 398  # classes below this are animals

TABLE = """
fish: tench/テンチ, goldfish/金魚/goldfish
sea: great white shark/ホホジロザメ/shark, tiger shark/イタチザメ/shark, hammerhead/シュモクザメ/shark
fish: electric ray/シビレエイ, stingray/アカエイ
farm: rooster/雄鶏/chicken, hen/雌鶏/chicken
bird: ostrich/ダチョウ, brambling/アトリ, goldfinch/ゴシキヒワ, house finch/メキシコマシコ, junco/ユキヒメドリ, indigo bunting/ルリノジコ, American robin/コマツグミ
bird: bulbul/ヒヨドリ, jay/カケス, magpie/カササギ, chickadee/コガラ, dipper/カワガラス, kite/トビ/hawk, bald eagle/ハクトウワシ/eagle, vulture/ハゲワシ, great grey owl/カラフトフクロウ/owl
reptile: fire salamander/ファイアサラマンダー/salamander, common newt/ヨーロッパイモリ/newt, eft/イモリの幼体/newt, spotted salamander/サンショウウオ/salamander
reptile: axolotl/ウーパールーパー/axolotl, bullfrog/ウシガエル/frog, tree frog/アマガエル/frog, tailed frog/オガエル/frog
sea: loggerhead turtle/アカウミガメ/sea_turtle, leatherback turtle/オサガメ/sea_turtle
reptile: mud turtle/ドロガメ/turtle, terrapin/ヌマガメ/turtle, box turtle/ハコガメ/turtle, banded gecko/ヤモリ/gecko, green iguana/グリーンイグアナ/iguana
reptile: anole/アノール/lizard, whiptail lizard/ハシリトカゲ/lizard, agama/アガマ/lizard, frilled lizard/エリマキトカゲ/lizard, alligator lizard/アリゲータートカゲ/lizard
reptile: Gila monster/アメリカドクトカゲ/lizard, green lizard/ミドリカナヘビ/lizard, chameleon/カメレオン/chameleon, Komodo dragon/コモドオオトカゲ/lizard
reptile: Nile crocodile/ナイルワニ/crocodile, American alligator/アメリカアリゲーター/crocodile, triceratops/トリケラトプス
reptile: worm snake/ミミズヘビ/snake, ringneck snake/クビワヘビ/snake, hognose snake/シシバナヘビ/snake, green snake/アオヘビ/snake, king snake/キングヘビ/snake
reptile: garter snake/ガーターヘビ/snake, water snake/ミズヘビ/snake, vine snake/ツルヘビ/snake, night snake/ヨルヘビ/snake, boa constrictor/ボア/snake
reptile: rock python/ニシキヘビ/snake, Indian cobra/インドコブラ/snake, green mamba/グリーンマンバ/snake, sea snake/ウミヘビ/snake, horned viper/ツノクサリヘビ/snake
reptile: diamondback rattlesnake/ガラガラヘビ/snake, sidewinder/ヨコバイガラガラヘビ/snake
other: trilobite/三葉虫
insect: harvestman/ザトウムシ, scorpion/サソリ, garden spider/コガネグモ, barn spider/オニグモ, cross spider/ニワオニグモ, black widow/クロゴケグモ, tarantula/タランチュラ
insect: wolf spider/コモリグモ, tick/マダニ, centipede/ムカデ
bird: black grouse/クロライチョウ, ptarmigan/ライチョウ, ruffed grouse/エリマキライチョウ, prairie chicken/ソウゲンライチョウ, peacock/クジャク/peacock, quail/ウズラ
bird: partridge/ヤマウズラ, grey parrot/ヨウム/parrot, macaw/コンゴウインコ/parakeet, cockatoo/キバタン/parrot, lorikeet/ゴシキセイガイインコ/parakeet
bird: coucal/バンケン, bee-eater/ハチクイ, hornbill/サイチョウ, hummingbird/ハチドリ, jacamar/キリハシ, toucan/オオハシ, drake/雄ガモ/duck
bird: red-breasted merganser/ウミアイサ/duck, goose/ガチョウ, black swan/コクチョウ/swan
wild: tusker/牙のあるゾウ/elephant, echidna/ハリモグラ, platypus/カモノハシ, wallaby/ワラビー/kangaroo, koala/コアラ/koala, wombat/ウォンバット
sea: jellyfish/クラゲ/jellyfish, sea anemone/イソギンチャク, brain coral/ノウサンゴ
other: flatworm/ヒラムシ, nematode/線虫
sea: conch/ホラガイ
other: snail/カタツムリ, slug/ナメクジ
sea: sea slug/ウミウシ, chiton/ヒザラガイ, nautilus/オウムガイ, Dungeness crab/アメリカイチョウガニ/crab, rock crab/イワガニ/crab, fiddler crab/シオマネキ/crab
sea: king crab/タラバガニ/crab, lobster/ロブスター, spiny lobster/イセエビ, crayfish/ザリガニ, hermit crab/ヤドカリ
other: isopod/等脚類
bird: white stork/シュバシコウ, black stork/ナベコウ, spoonbill/ヘラサギ, flamingo/フラミンゴ/flamingo, little blue heron/ヒメアカクロサギ, great egret/ダイサギ
bird: bittern/サンカノゴイ, crane/ツル, limpkin/ツルモドキ, gallinule/バン, coot/オオバン, bustard/ノガン, turnstone/キョウジョシギ, dunlin/ハマシギ
bird: redshank/アカアシシギ, dowitcher/オオハシシギ, oystercatcher/ミヤコドリ, pelican/ペリカン, king penguin/キングペンギン/penguin, albatross/アホウドリ
sea: grey whale/コククジラ/whale, orca/シャチ/orca, dugong/ジュゴン, sea lion/アシカ/sea_lion
dog: Chihuahua/チワワ/chihuahua, Japanese Chin/狆/chin, Maltese/マルチーズ/maltese, Pekingese/ペキニーズ, Shih Tzu/シー・ズー/shih_tzu
dog: King Charles Spaniel/キャバリア/cavalier, Papillon/パピヨン/papillon, toy terrier/トイ・テリア, Rhodesian Ridgeback/ローデシアン・リッジバック
dog: Afghan Hound/アフガン・ハウンド, Basset Hound/バセット・ハウンド, Beagle/ビーグル/beagle, Bloodhound/ブラッドハウンド, Bluetick Coonhound/ブルーティック・クーンハウンド
dog: Black and Tan Coonhound/ブラック・アンド・タン・クーンハウンド, Treeing Walker Coonhound/ウォーカー・ハウンド, English Foxhound/イングリッシュ・フォックスハウンド
dog: Redbone Coonhound/レッドボーン・クーンハウンド, Borzoi/ボルゾイ, Irish Wolfhound/アイリッシュ・ウルフハウンド, Italian Greyhound/イタリアン・グレーハウンド
dog: Whippet/ウィペット, Ibizan Hound/イビザン・ハウンド, Norwegian Elkhound/ノルウェジアン・エルクハウンド, Otterhound/オッターハウンド, Saluki/サルーキ
dog: Scottish Deerhound/スコティッシュ・ディアハウンド, Weimaraner/ワイマラナー, Staffordshire Bull Terrier/スタッフォードシャー・ブル・テリア
dog: American Staffordshire Terrier/アメリカン・スタッフォードシャー・テリア, Bedlington Terrier/ベドリントン・テリア, Border Terrier/ボーダー・テリア
dog: Kerry Blue Terrier/ケリー・ブルー・テリア, Irish Terrier/アイリッシュ・テリア, Norfolk Terrier/ノーフォーク・テリア, Norwich Terrier/ノーリッチ・テリア
dog: Yorkshire Terrier/ヨークシャー・テリア/yorkshire, Wire Fox Terrier/ワイアー・フォックス・テリア, Lakeland Terrier/レークランド・テリア
dog: Sealyham Terrier/シーリハム・テリア, Airedale Terrier/エアデール・テリア, Cairn Terrier/ケアーン・テリア, Australian Terrier/オーストラリアン・テリア
dog: Dandie Dinmont Terrier/ダンディ・ディンモント・テリア, Boston Terrier/ボストン・テリア, Miniature Schnauzer/ミニチュア・シュナウザー/schnauzer
dog: Giant Schnauzer/ジャイアント・シュナウザー, Standard Schnauzer/スタンダード・シュナウザー/schnauzer, Scottish Terrier/スコティッシュ・テリア
dog: Tibetan Terrier/チベタン・テリア, Silky Terrier/シルキー・テリア, Wheaten Terrier/ソフトコーテッド・ウィートン・テリア
dog: West Highland White Terrier/ウエスト・ハイランド・ホワイト・テリア, Lhasa Apso/ラサ・アプソ, Flat-Coated Retriever/フラットコーテッド・レトリバー
dog: Curly-Coated Retriever/カーリーコーテッド・レトリバー, Golden Retriever/ゴールデン・レトリバー/golden_retriever
dog: Labrador Retriever/ラブラドール・レトリバー/labrador, Chesapeake Bay Retriever/チェサピーク・ベイ・レトリバー
dog: German Shorthaired Pointer/ジャーマン・ショートヘアード・ポインター, Vizsla/ビズラ, English Setter/イングリッシュ・セター, Irish Setter/アイリッシュ・セター
dog: Gordon Setter/ゴードン・セター, Brittany/ブリタニー・スパニエル, Clumber Spaniel/クランバー・スパニエル
dog: English Springer Spaniel/イングリッシュ・スプリンガー・スパニエル, Welsh Springer Spaniel/ウェルシュ・スプリンガー・スパニエル
dog: Cocker Spaniel/コッカー・スパニエル, Sussex Spaniel/サセックス・スパニエル, Irish Water Spaniel/アイリッシュ・ウォーター・スパニエル
dog: Kuvasz/クーバース, Schipperke/スキッパーキ, Groenendael/グローネンダール, Malinois/マリノア, Briard/ブリアール, Kelpie/ケルピー, Komondor/コモンドール
dog: Old English Sheepdog/オールド・イングリッシュ・シープドッグ, Shetland Sheepdog/シェットランド・シープドッグ, Collie/コリー
dog: Border Collie/ボーダー・コリー/border_collie, Bouvier des Flandres/ブービエ・デ・フランダース, Rottweiler/ロットワイラー
dog: German Shepherd/ジャーマン・シェパード/german_shepherd, Doberman/ドーベルマン, Miniature Pinscher/ミニチュア・ピンシャー
dog: Greater Swiss Mountain Dog/グレーター・スイス・マウンテン・ドッグ, Bernese Mountain Dog/バーニーズ・マウンテン・ドッグ
dog: Appenzeller/アッペンツェラー, Entlebucher/エントレブッハー, Boxer/ボクサー, Bullmastiff/ブルマスティフ, Tibetan Mastiff/チベタン・マスティフ
dog: French Bulldog/フレンチ・ブルドッグ/french_bulldog, Great Dane/グレート・デーン, Saint Bernard/セント・バーナード, Eskimo dog/エスキモー犬
dog: Malamute/アラスカン・マラミュート, Siberian Husky/シベリアン・ハスキー/husky, Dalmatian/ダルメシアン/dalmatian, Affenpinscher/アーフェンピンシャー
dog: Basenji/バセンジー, Pug/パグ/pug, Leonberger/レオンベルガー, Newfoundland/ニューファンドランド, Great Pyrenees/グレート・ピレニーズ, Samoyed/サモエド/samoyed
dog: Pomeranian/ポメラニアン/pomeranian, Chow Chow/チャウ・チャウ, Keeshond/キースホンド, Brussels Griffon/ブリュッセル・グリフォン
dog: Pembroke Welsh Corgi/ウェルシュ・コーギー・ペンブローク/corgi, Cardigan Welsh Corgi/ウェルシュ・コーギー・カーディガン/corgi
dog: Toy Poodle/トイ・プードル/toy_poodle, Miniature Poodle/ミニチュア・プードル/poodle, Standard Poodle/スタンダード・プードル/poodle
dog: Mexican hairless dog/メキシカン・ヘアレス・ドッグ
wild: timber wolf/シンリンオオカミ/wolf, white wolf/ホッキョクオオカミ/wolf, red wolf/アメリカアカオオカミ/wolf, coyote/コヨーテ
dog: dingo/ディンゴ
wild: dhole/ドール, African wild dog/リカオン, hyena/ハイエナ, red fox/アカギツネ/fox, kit fox/キットギツネ/fox, Arctic fox/ホッキョクギツネ/fox, grey fox/ハイイロギツネ/fox
cat: tabby/キジトラ/tabby, tiger cat/トラ猫/tabby, Persian/ペルシャ猫/persian, Siamese/シャム猫/siamese, cat/猫
wild: cougar/ピューマ, lynx/オオヤマネコ, leopard/ヒョウ/leopard, snow leopard/ユキヒョウ/leopard, jaguar/ジャガー, lion/ライオン/lion, tiger/トラ/tiger
wild: cheetah/チーター/cheetah, brown bear/ヒグマ/bear, American black bear/アメリカクロクマ/bear, polar bear/ホッキョクグマ/polar_bear, sloth bear/ナマケグマ/bear
wild: mongoose/マングース, meerkat/ミーアキャット/meerkat
insect: tiger beetle/ハンミョウ, ladybird/テントウムシ/ladybird, ground beetle/オサムシ, longhorn beetle/カミキリムシ, leaf beetle/ハムシ, dung beetle/フンコロガシ
insect: rhinoceros beetle/カブトムシ/beetle, weevil/ゾウムシ, fly/ハエ, bee/ハチ/bee, ant/アリ, grasshopper/バッタ/grasshopper, cricket/コオロギ
insect: stick insect/ナナフシ, cockroach/ゴキブリ, mantis/カマキリ/mantis, cicada/セミ/cicada, leafhopper/ヨコバイ, lacewing/クサカゲロウ
insect: dragonfly/トンボ/dragonfly, damselfly/イトトンボ/dragonfly, red admiral/ヨーロッパアカタテハ/butterfly, ringlet/ジャノメチョウ/butterfly
insect: monarch/オオカバマダラ/butterfly, cabbage white/モンシロチョウ/butterfly, sulphur butterfly/モンキチョウ/butterfly, blue butterfly/シジミチョウ/butterfly
sea: starfish/ヒトデ, sea urchin/ウニ, sea cucumber/ナマコ
rabbit: wood rabbit/ワタオウサギ, hare/野うさぎ, Angora rabbit/アンゴラうさぎ
small: hamster/ハムスター/hamster
wild: porcupine/ヤマアラシ
small: fox squirrel/キツネリス/squirrel
wild: marmot/マーモット, beaver/ビーバー
small: guinea pig/モルモット/guinea_pig
horse: chestnut horse/栗毛の馬
wild: zebra/シマウマ/zebra
farm: pig/豚/pig
wild: wild boar/イノシシ/boar, warthog/イボイノシシ/boar, hippopotamus/カバ/hippo
farm: ox/雄牛/cow, water buffalo/水牛/cow
wild: bison/バイソン
farm: ram/雄羊/sheep
wild: bighorn sheep/ビッグホーン, ibex/アイベックス, hartebeest/ハーテビースト, impala/インパラ, gazelle/ガゼル, dromedary/ヒトコブラクダ/camel
farm: llama/ラマ
wild: weasel/イタチ, mink/ミンク
small: polecat/フェレット/ferret
wild: black-footed ferret/クロアシイタチ, otter/カワウソ/otter, skunk/スカンク, badger/アナグマ, armadillo/アルマジロ, sloth/ミユビナマケモノ
wild: orangutan/オランウータン, gorilla/ゴリラ/gorilla, chimpanzee/チンパンジー, gibbon/テナガザル/monkey, siamang/フクロテナガザル/monkey, guenon/オナガザル/monkey
wild: patas monkey/パタスモンキー/monkey, baboon/ヒヒ/monkey, macaque/マカク/monkey, langur/ラングール/monkey, colobus/コロブス/monkey, proboscis monkey/テングザル/monkey
wild: marmoset/マーモセット/monkey, capuchin/オマキザル/monkey, howler monkey/ホエザル/monkey, titi/ティティモンキー/monkey, spider monkey/クモザル/monkey
wild: squirrel monkey/リスザル/monkey, ring-tailed lemur/ワオキツネザル, indri/インドリ, Indian elephant/インドゾウ/elephant
wild: African elephant/アフリカゾウ/elephant, red panda/レッサーパンダ/red_panda, giant panda/ジャイアントパンダ/panda
fish: snoek/クロシビカマス, eel/ウナギ, coho/ギンザケ, rock beauty/ヌリワケヤッコ, clownfish/クマノミ/clownfish, sturgeon/チョウザメ, gar/ガー
fish: lionfish/ミノカサゴ, pufferfish/フグ
"""


class Label(NamedTuple):
    """A class of animals."""

    category: str
    breed: str | None
    ja: str
    en: str


@cache
def labels() -> tuple[Label, ...]:
    """All of them, by the number of the class."""
    made = []
    for line in TABLE.strip().splitlines():
        category, _, entries = line.partition(": ")
        for entry in entries.split(", "):
            en, ja, *breed = entry.split("/")
            made.append(Label(category, breed[0] if breed else None, ja, en))
    assert len(made) == ANIMALS
    assert {each.category for each in made} <= CATEGORIES.keys()
    assert {each.breed for each in made if each.breed} <= BREEDS.keys()
    return tuple(made)
