"""ImageNet's animals, classes 0 to 397: category, breed if the taxonomy has it, and name.

LABEL_TABLE has a line for each run of neighbouring classes of one category, in class order. An
entry is `English/日本語` or `English/日本語/breed`. Three choices: the dingo stands with the dogs,
because it is one and what looks like it on this site is a shiba; ImageNet's "Egyptian cat" is
called a cat, because its pictures show all kinds of cats; spiders stand with the insects, as people
post them.
"""

from functools import cache
from typing import NamedTuple

from tanuki.animals.taxonomy import BREEDS, CATEGORIES

ANIMAL_CLASSES = 398
"""ImageNet classes below this number are animals."""

LABEL_TABLE = """
fish: tench/テンチ, goldfish/金魚/goldfish
sea: great white shark/ホホジロザメ/shark, tiger shark/イタチザメ/shark
sea: hammerhead/シュモクザメ/shark
fish: electric ray/シビレエイ, stingray/アカエイ
farm: rooster/雄鶏/chicken, hen/雌鶏/chicken
bird: ostrich/ダチョウ, brambling/アトリ, goldfinch/ゴシキヒワ, house finch/メキシコマシコ
bird: junco/ユキヒメドリ, indigo bunting/ルリノジコ, American robin/コマツグミ, bulbul/ヒヨドリ
bird: jay/カケス, magpie/カササギ, chickadee/コガラ, dipper/カワガラス, kite/トビ/hawk
bird: bald eagle/ハクトウワシ/eagle, vulture/ハゲワシ, great grey owl/カラフトフクロウ/owl
reptile: fire salamander/ファイアサラマンダー/salamander, common newt/ヨーロッパイモリ/newt
reptile: eft/イモリの幼体/newt, spotted salamander/サンショウウオ/salamander
reptile: axolotl/ウーパールーパー/axolotl, bullfrog/ウシガエル/frog, tree frog/アマガエル/frog
reptile: tailed frog/オガエル/frog
sea: loggerhead turtle/アカウミガメ/sea_turtle, leatherback turtle/オサガメ/sea_turtle
reptile: mud turtle/ドロガメ/turtle, terrapin/ヌマガメ/turtle, box turtle/ハコガメ/turtle
reptile: banded gecko/ヤモリ/gecko, green iguana/グリーンイグアナ/iguana, anole/アノール/lizard
reptile: whiptail lizard/ハシリトカゲ/lizard, agama/アガマ/lizard
reptile: frilled lizard/エリマキトカゲ/lizard, alligator lizard/アリゲータートカゲ/lizard
reptile: Gila monster/アメリカドクトカゲ/lizard, green lizard/ミドリカナヘビ/lizard
reptile: chameleon/カメレオン/chameleon, Komodo dragon/コモドオオトカゲ/lizard
reptile: Nile crocodile/ナイルワニ/crocodile, American alligator/アメリカアリゲーター/crocodile
reptile: triceratops/トリケラトプス, worm snake/ミミズヘビ/snake, ringneck snake/クビワヘビ/snake
reptile: hognose snake/シシバナヘビ/snake, green snake/アオヘビ/snake, king snake/キングヘビ/snake
reptile: garter snake/ガーターヘビ/snake, water snake/ミズヘビ/snake, vine snake/ツルヘビ/snake
reptile: night snake/ヨルヘビ/snake, boa constrictor/ボア/snake, rock python/ニシキヘビ/snake
reptile: Indian cobra/インドコブラ/snake, green mamba/グリーンマンバ/snake
reptile: sea snake/ウミヘビ/snake, horned viper/ツノクサリヘビ/snake
reptile: diamondback rattlesnake/ガラガラヘビ/snake, sidewinder/ヨコバイガラガラヘビ/snake
other: trilobite/三葉虫
insect: harvestman/ザトウムシ, scorpion/サソリ, garden spider/コガネグモ, barn spider/オニグモ
insect: cross spider/ニワオニグモ, black widow/クロゴケグモ, tarantula/タランチュラ
insect: wolf spider/コモリグモ, tick/マダニ, centipede/ムカデ
bird: black grouse/クロライチョウ, ptarmigan/ライチョウ, ruffed grouse/エリマキライチョウ
bird: prairie chicken/ソウゲンライチョウ, peacock/クジャク/peacock, quail/ウズラ
bird: partridge/ヤマウズラ, grey parrot/ヨウム/parrot, macaw/コンゴウインコ/parakeet
bird: cockatoo/キバタン/parrot, lorikeet/ゴシキセイガイインコ/parakeet, coucal/バンケン
bird: bee-eater/ハチクイ, hornbill/サイチョウ, hummingbird/ハチドリ, jacamar/キリハシ
bird: toucan/オオハシ, drake/雄ガモ/duck, red-breasted merganser/ウミアイサ/duck, goose/ガチョウ
bird: black swan/コクチョウ/swan
wild: tusker/牙のあるゾウ/elephant, echidna/ハリモグラ, platypus/カモノハシ
wild: wallaby/ワラビー/kangaroo, koala/コアラ/koala, wombat/ウォンバット
sea: jellyfish/クラゲ/jellyfish, sea anemone/イソギンチャク, brain coral/ノウサンゴ
other: flatworm/ヒラムシ, nematode/線虫
sea: conch/ホラガイ
other: snail/カタツムリ, slug/ナメクジ
sea: sea slug/ウミウシ, chiton/ヒザラガイ, nautilus/オウムガイ
sea: Dungeness crab/アメリカイチョウガニ/crab, rock crab/イワガニ/crab
sea: fiddler crab/シオマネキ/crab, king crab/タラバガニ/crab, lobster/ロブスター
sea: spiny lobster/イセエビ, crayfish/ザリガニ, hermit crab/ヤドカリ
other: isopod/等脚類
bird: white stork/シュバシコウ, black stork/ナベコウ, spoonbill/ヘラサギ
bird: flamingo/フラミンゴ/flamingo, little blue heron/ヒメアカクロサギ, great egret/ダイサギ
bird: bittern/サンカノゴイ, crane/ツル, limpkin/ツルモドキ, gallinule/バン, coot/オオバン
bird: bustard/ノガン, turnstone/キョウジョシギ, dunlin/ハマシギ, redshank/アカアシシギ
bird: dowitcher/オオハシシギ, oystercatcher/ミヤコドリ, pelican/ペリカン
bird: king penguin/キングペンギン/penguin, albatross/アホウドリ
sea: grey whale/コククジラ/whale, orca/シャチ/orca, dugong/ジュゴン, sea lion/アシカ/sea_lion
dog: Chihuahua/チワワ/chihuahua, Japanese Chin/狆/chin, Maltese/マルチーズ/maltese
dog: Pekingese/ペキニーズ, Shih Tzu/シー・ズー/shih_tzu, King Charles Spaniel/キャバリア/cavalier
dog: Papillon/パピヨン/papillon, toy terrier/トイ・テリア
dog: Rhodesian Ridgeback/ローデシアン・リッジバック, Afghan Hound/アフガン・ハウンド
dog: Basset Hound/バセット・ハウンド, Beagle/ビーグル/beagle, Bloodhound/ブラッドハウンド
dog: Bluetick Coonhound/ブルーティック・クーンハウンド
dog: Black and Tan Coonhound/ブラック・アンド・タン・クーンハウンド
dog: Treeing Walker Coonhound/ウォーカー・ハウンド
dog: English Foxhound/イングリッシュ・フォックスハウンド
dog: Redbone Coonhound/レッドボーン・クーンハウンド, Borzoi/ボルゾイ
dog: Irish Wolfhound/アイリッシュ・ウルフハウンド, Italian Greyhound/イタリアン・グレーハウンド
dog: Whippet/ウィペット, Ibizan Hound/イビザン・ハウンド
dog: Norwegian Elkhound/ノルウェジアン・エルクハウンド, Otterhound/オッターハウンド
dog: Saluki/サルーキ, Scottish Deerhound/スコティッシュ・ディアハウンド, Weimaraner/ワイマラナー
dog: Staffordshire Bull Terrier/スタッフォードシャー・ブル・テリア
dog: American Staffordshire Terrier/アメリカン・スタッフォードシャー・テリア
dog: Bedlington Terrier/ベドリントン・テリア, Border Terrier/ボーダー・テリア
dog: Kerry Blue Terrier/ケリー・ブルー・テリア, Irish Terrier/アイリッシュ・テリア
dog: Norfolk Terrier/ノーフォーク・テリア, Norwich Terrier/ノーリッチ・テリア
dog: Yorkshire Terrier/ヨークシャー・テリア/yorkshire
dog: Wire Fox Terrier/ワイアー・フォックス・テリア, Lakeland Terrier/レークランド・テリア
dog: Sealyham Terrier/シーリハム・テリア, Airedale Terrier/エアデール・テリア
dog: Cairn Terrier/ケアーン・テリア, Australian Terrier/オーストラリアン・テリア
dog: Dandie Dinmont Terrier/ダンディ・ディンモント・テリア, Boston Terrier/ボストン・テリア
dog: Miniature Schnauzer/ミニチュア・シュナウザー/schnauzer
dog: Giant Schnauzer/ジャイアント・シュナウザー
dog: Standard Schnauzer/スタンダード・シュナウザー/schnauzer
dog: Scottish Terrier/スコティッシュ・テリア, Tibetan Terrier/チベタン・テリア
dog: Silky Terrier/シルキー・テリア, Wheaten Terrier/ソフトコーテッド・ウィートン・テリア
dog: West Highland White Terrier/ウエスト・ハイランド・ホワイト・テリア, Lhasa Apso/ラサ・アプソ
dog: Flat-Coated Retriever/フラットコーテッド・レトリバー
dog: Curly-Coated Retriever/カーリーコーテッド・レトリバー
dog: Golden Retriever/ゴールデン・レトリバー/golden_retriever
dog: Labrador Retriever/ラブラドール・レトリバー/labrador
dog: Chesapeake Bay Retriever/チェサピーク・ベイ・レトリバー
dog: German Shorthaired Pointer/ジャーマン・ショートヘアード・ポインター, Vizsla/ビズラ
dog: English Setter/イングリッシュ・セター, Irish Setter/アイリッシュ・セター
dog: Gordon Setter/ゴードン・セター, Brittany/ブリタニー・スパニエル
dog: Clumber Spaniel/クランバー・スパニエル
dog: English Springer Spaniel/イングリッシュ・スプリンガー・スパニエル
dog: Welsh Springer Spaniel/ウェルシュ・スプリンガー・スパニエル
dog: Cocker Spaniel/コッカー・スパニエル, Sussex Spaniel/サセックス・スパニエル
dog: Irish Water Spaniel/アイリッシュ・ウォーター・スパニエル, Kuvasz/クーバース
dog: Schipperke/スキッパーキ, Groenendael/グローネンダール, Malinois/マリノア, Briard/ブリアール
dog: Kelpie/ケルピー, Komondor/コモンドール
dog: Old English Sheepdog/オールド・イングリッシュ・シープドッグ
dog: Shetland Sheepdog/シェットランド・シープドッグ, Collie/コリー
dog: Border Collie/ボーダー・コリー/border_collie, Bouvier des Flandres/ブービエ・デ・フランダース
dog: Rottweiler/ロットワイラー, German Shepherd/ジャーマン・シェパード/german_shepherd
dog: Doberman/ドーベルマン, Miniature Pinscher/ミニチュア・ピンシャー
dog: Greater Swiss Mountain Dog/グレーター・スイス・マウンテン・ドッグ
dog: Bernese Mountain Dog/バーニーズ・マウンテン・ドッグ, Appenzeller/アッペンツェラー
dog: Entlebucher/エントレブッハー, Boxer/ボクサー, Bullmastiff/ブルマスティフ
dog: Tibetan Mastiff/チベタン・マスティフ, French Bulldog/フレンチ・ブルドッグ/french_bulldog
dog: Great Dane/グレート・デーン, Saint Bernard/セント・バーナード, Eskimo dog/エスキモー犬
dog: Malamute/アラスカン・マラミュート, Siberian Husky/シベリアン・ハスキー/husky
dog: Dalmatian/ダルメシアン/dalmatian, Affenpinscher/アーフェンピンシャー, Basenji/バセンジー
dog: Pug/パグ/pug, Leonberger/レオンベルガー, Newfoundland/ニューファンドランド
dog: Great Pyrenees/グレート・ピレニーズ, Samoyed/サモエド/samoyed
dog: Pomeranian/ポメラニアン/pomeranian, Chow Chow/チャウ・チャウ, Keeshond/キースホンド
dog: Brussels Griffon/ブリュッセル・グリフォン
dog: Pembroke Welsh Corgi/ウェルシュ・コーギー・ペンブローク/corgi
dog: Cardigan Welsh Corgi/ウェルシュ・コーギー・カーディガン/corgi
dog: Toy Poodle/トイ・プードル/toy_poodle, Miniature Poodle/ミニチュア・プードル/poodle
dog: Standard Poodle/スタンダード・プードル/poodle
dog: Mexican hairless dog/メキシカン・ヘアレス・ドッグ
wild: timber wolf/シンリンオオカミ/wolf, white wolf/ホッキョクオオカミ/wolf
wild: red wolf/アメリカアカオオカミ/wolf, coyote/コヨーテ
dog: dingo/ディンゴ
wild: dhole/ドール, African wild dog/リカオン, hyena/ハイエナ, red fox/アカギツネ/fox
wild: kit fox/キットギツネ/fox, Arctic fox/ホッキョクギツネ/fox, grey fox/ハイイロギツネ/fox
cat: tabby/キジトラ/tabby, tiger cat/トラ猫/tabby, Persian/ペルシャ猫/persian
cat: Siamese/シャム猫/siamese, cat/猫
wild: cougar/ピューマ, lynx/オオヤマネコ, leopard/ヒョウ/leopard, snow leopard/ユキヒョウ/leopard
wild: jaguar/ジャガー, lion/ライオン/lion, tiger/トラ/tiger, cheetah/チーター/cheetah
wild: brown bear/ヒグマ/bear, American black bear/アメリカクロクマ/bear
wild: polar bear/ホッキョクグマ/polar_bear, sloth bear/ナマケグマ/bear, mongoose/マングース
wild: meerkat/ミーアキャット/meerkat
insect: tiger beetle/ハンミョウ, ladybird/テントウムシ/ladybird, ground beetle/オサムシ
insect: longhorn beetle/カミキリムシ, leaf beetle/ハムシ, dung beetle/フンコロガシ
insect: rhinoceros beetle/カブトムシ/beetle, weevil/ゾウムシ, fly/ハエ, bee/ハチ/bee, ant/アリ
insect: grasshopper/バッタ/grasshopper, cricket/コオロギ, stick insect/ナナフシ
insect: cockroach/ゴキブリ, mantis/カマキリ/mantis, cicada/セミ/cicada, leafhopper/ヨコバイ
insect: lacewing/クサカゲロウ, dragonfly/トンボ/dragonfly, damselfly/イトトンボ/dragonfly
insect: red admiral/ヨーロッパアカタテハ/butterfly, ringlet/ジャノメチョウ/butterfly
insect: monarch/オオカバマダラ/butterfly, cabbage white/モンシロチョウ/butterfly
insect: sulphur butterfly/モンキチョウ/butterfly, blue butterfly/シジミチョウ/butterfly
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
wild: bighorn sheep/ビッグホーン, ibex/アイベックス, hartebeest/ハーテビースト, impala/インパラ
wild: gazelle/ガゼル, dromedary/ヒトコブラクダ/camel
farm: llama/ラマ
wild: weasel/イタチ, mink/ミンク
small: polecat/フェレット/ferret
wild: black-footed ferret/クロアシイタチ, otter/カワウソ/otter, skunk/スカンク, badger/アナグマ
wild: armadillo/アルマジロ, sloth/ミユビナマケモノ, orangutan/オランウータン
wild: gorilla/ゴリラ/gorilla, chimpanzee/チンパンジー, gibbon/テナガザル/monkey
wild: siamang/フクロテナガザル/monkey, guenon/オナガザル/monkey
wild: patas monkey/パタスモンキー/monkey, baboon/ヒヒ/monkey, macaque/マカク/monkey
wild: langur/ラングール/monkey, colobus/コロブス/monkey, proboscis monkey/テングザル/monkey
wild: marmoset/マーモセット/monkey, capuchin/オマキザル/monkey, howler monkey/ホエザル/monkey
wild: titi/ティティモンキー/monkey, spider monkey/クモザル/monkey, squirrel monkey/リスザル/monkey
wild: ring-tailed lemur/ワオキツネザル, indri/インドリ, Indian elephant/インドゾウ/elephant
wild: African elephant/アフリカゾウ/elephant, red panda/レッサーパンダ/red_panda
wild: giant panda/ジャイアントパンダ/panda
fish: snoek/クロシビカマス, eel/ウナギ, coho/ギンザケ, rock beauty/ヌリワケヤッコ
fish: clownfish/クマノミ/clownfish, sturgeon/チョウザメ, gar/ガー, lionfish/ミノカサゴ
fish: pufferfish/フグ
"""


class Label(NamedTuple):
    """A class of animals: keys of CATEGORIES and BREEDS, and its name in both languages."""

    category: str
    breed: str | None
    ja: str
    en: str


@cache
def imagenet_labels() -> tuple[Label, ...]:
    """The labels by class number."""
    labels = []
    for line in LABEL_TABLE.strip().splitlines():
        category, _, entries = line.partition(": ")
        for entry in entries.split(", "):
            en, ja, *breed = entry.split("/")
            labels.append(Label(category, breed[0] if breed else None, ja, en))
    assert len(labels) == ANIMAL_CLASSES
    assert {label.category for label in labels} <= CATEGORIES.keys()
    assert {label.breed for label in labels if label.breed} <= BREEDS.keys()
    return tuple(labels)
